import {
  DataFrame,
  DataQueryError,
  DataQueryResponse,
  Field,
  LoadingState,
  QueryResultMetaNotice,
  StreamingDataFrame,
} from '@grafana/data';
import { isEqual } from 'lodash';
import { defer, fromEvent, interval, merge, Observable, share, Subscription } from 'rxjs';
import { exact, identity, Rows, Wanted } from './exact';
import { Nonces } from './nonces';
import { Ask, Resync, Terms } from './types';

/**
 * How long a hole may stay. The overlap is repeated 0.25 s and 1 s after a join; a hole that is still there after this
 * time will not be filled.
 */
const GRACE = 1_500;
/**
 * How long a stream may go without a packet. The back end repeats the newest rows while there are no new ones, so a
 * longer silence means that the stream is dead.
 */
const SILENCE = 15_000;
/** How often a panel asks that is shown without a stream, */
const POLL = 15_000;
/** and how often in a step, if that is long. */
const POLLS_PER_STEP = 240;
/** After so many doubtful streams in a row, a panel is polled instead. */
const DOUBTS = 3;
/** How long such a panel is polled before it may have a stream again. */
const RETRY = 600_000;
/** A deadline that was missed by more than this was missed because the panel was hidden or the machine was asleep. */
const OVERSLEPT = 5_000;
const FIRST_WAIT = 250;
/** setTimeout fires at once if it is given more than this. */
const LONGEST_TIMER = 2 ** 31 - 1;

/** Why a panel asks again or, for `refusal`, stops asking. */
type Reason = Resync | 'asleep' | 'busy' | 'refusal';

interface Policy {
  /** The reason that is sent to the back end, which counts it. */
  resync: Resync;
  notice: string;
  /** After so many times in a row the user is told. */
  tellAfter: number;
  /**
   * After so many times in a row, the notice stays until a new stream has brought a second packet: the first one may be
   * only its beginning.
   */
  proveAfter?: number;
  /** A stream that lasted longer than this makes the counts begin anew. In milliseconds, like `longest`. */
  calm: number;
  /** The longest wait before asking again. Without it, only a refresh asks again. */
  longest?: number;
  /** The first wait if the answer does not say how long to wait. In milliseconds. */
  first?: number;
  /** The rows are in doubt. After `DOUBTS` times in a row the panel is polled. */
  doubt?: boolean;
  /** The next stream needs a buffer of its own. */
  renew?: boolean;
}

const doubt = { tellAfter: 3, calm: 10_000, longest: 10_000, doubt: true, renew: true };
const dead = { tellAfter: 3, calm: 10_000, longest: 10_000, renew: true };
const quiet = { tellAfter: Infinity, calm: 10_000, longest: 60_000, notice: '' };
const failed = { tellAfter: 1, calm: 10_000, longest: 60_000, resync: 'failure' as const };

const POLICY: Record<Reason, Policy> = {
  hole: { ...doubt, resync: 'hole', notice: 'Rows are missing.' },
  short: { ...doubt, resync: 'short', notice: 'The history is incomplete.' },
  // `calm` is longer here, because the series of some queries come and go all the time, and the samples of some sources
  // are always late.
  fields: { ...doubt, resync: 'fields', calm: 60_000, notice: 'The series have changed.' },
  silence: { ...dead, resync: 'silence', proveAfter: 1, notice: 'No live rows arrive.' },
  refused: { ...dead, resync: 'refused', proveAfter: 3, notice: 'Grafana does not let this panel stream.' },
  asleep: { ...quiet, resync: 'silence', renew: true },
  range: { ...quiet, resync: 'range' },
  // An input went down or came back. The next answer says so; the rows themselves are not in doubt.
  health: { ...quiet, resync: 'health', renew: true },
  failure: { ...failed, notice: 'No answer from the data source.' },
  // Wait longer, so that a server with too many requests does not get another one at once.
  busy: { ...failed, notice: 'The data source is busy.', first: 5_000 },
  refusal: { ...failed, notice: 'The query was refused.', longest: undefined },
};

/** Classifies a failure. A request that failed on its way has no error. */
function reasonOf(error?: DataQueryError): Reason {
  const { messageId = '' } = (error?.data ?? {}) as { messageId?: string };
  const { status = 0 } = error ?? {};
  if (status === 429 || status === 503) {
    return 'busy';
  }
  const passes = status === 408 || messageId.startsWith('plugin.'); // the plugin is being restarted
  return status >= 400 && status <= 500 && !passes ? 'refusal' : 'failure';
}

/** How long a busy server asks to be left alone, in milliseconds. 0 if it does not say. */
function retryAfterOf(frame?: DataFrame, error?: DataQueryError): number {
  const { retryAfter } = (frame?.meta?.custom ?? {}) as { retryAfter?: number };
  // Grafana's front end passes no headers on. Its own API has the seconds in the body of the answer, as Kubernetes
  // does.
  const { details } = (error?.data ?? {}) as { details?: { retryAfterSeconds?: number } };
  return (retryAfter ?? details?.retryAfterSeconds ?? 0) * 1000;
}

/** What a guard needs to know of its panel. */
export interface Panel {
  refId: string;
  nonces: Nonces;
  /** Equal for queries that may lead to the same channel. */
  key: string;
  /** Which rows the panel's range has now. Without it, the newest window of the stream. */
  wanted?: () => Wanted;
  /** Whether the range grows with time, so that a range that is too short for a stream may get one later. */
  grows?: boolean;
  /** How long an answer may take, in milliseconds. */
  patience: number;
  /** Whether the panel is out of sight. */
  isOutOfSight?: () => boolean;
}

interface Streaming {
  name: 'streaming';
  since: number;
  /** How long the answer took. The first row may take as long. */
  took: number;
  channel: string;
  nonce: number;
  buffer: StreamingDataFrame;
  rows: Rows;
  error?: DataQueryError;
  /**
   * `identities` are those of the fields in the first packet. `fields` are the fields that were last found to match
   * them.
   */
  identities: Array<ReturnType<typeof identity>>;
  fields: Field[];
  packets: number;
  /** When the stream counts as dead unless a packet comes before. */
  alive: number;
  /** When a hole must have been filled. */
  mended?: number;
}

type State =
  | { name: 'asking'; since: number; until: number; nonce: number; polled: boolean }
  | Streaming
  | { name: 'waiting'; until: number; earliest: number }
  | { name: 'polling'; until: number }
  | { name: 'done' };

/** What the state machine can do. */
interface Actions {
  ask: (ask: Ask) => void;
  /** Unsubscribes from the running query. */
  leave: () => void;
  show: (answer: DataQueryResponse) => void;
  complete: () => void;
  /** Asks for a longer window while the stream goes on. */
  outgrow: () => void;
}

/**
 * Decides for one live query what is shown and when to ask again. All times are Date.now(), which goes on while the
 * machine sleeps.
 *
 *            answer                       doubt, silence, end
 *   asking ---------> streaming ------------------------------> waiting
 *    ^  | \  answer without a stream                             |
 *    |  |  -------------------------> polling                    |
 *    |  |  failure                       |                       |
 *    |   ------------------------------- | ----> waiting         |
 *     -----------------------------------+-----------------------
 *
 * When a range outgrows the window of its stream, a second machine asks for a longer one. The stream of the first
 * goes on until the second has rows.
 */
class Machine {
  private state: State = { name: 'done' };
  private reason?: Reason;
  private tries = 0;
  private doubts = 0;
  /** No stream is asked for before this time. */
  private streamsFrom = 0;
  private shown?: DataFrame;
  private hidden: boolean;

  constructor(
    private readonly panel: Panel,
    private readonly actions: Actions,
  ) {
    this.hidden = isHidden(panel);
  }

  /** When the machine wants to be woken. */
  get due(): number {
    const { state } = this;
    if (state.name === 'done' || (this.hidden && state.name !== 'asking')) {
      return Infinity;
    }
    return state.name === 'streaming' ? Math.min(state.alive, state.mended ?? Infinity) : state.until;
  }

  /** Whether the machine has nothing new to show and will ask again. */
  get waits(): boolean {
    return this.state.name === 'waiting';
  }

  /**
   * Asks for a longer window than the stream of another machine has, and takes over what the other one has shown and
   * counted.
   */
  follow(other: Machine) {
    this.tries = other.isCalm('range') ? 0 : other.tries;
    this.doubts = other.doubts;
    this.streamsFrom = other.streamsFrom;
    this.shown = other.shown;
    this.trouble('range');
  }

  ask() {
    const { nonces, key, patience } = this.panel;
    const now = Date.now();
    const polled = now < this.streamsFrom;
    const nonce = nonces.of(key);
    this.state = { name: 'asking', since: now, until: now + patience, nonce, polled };
    const resync = this.reason && POLICY[this.reason].resync;
    this.actions.ask({ nonce, ...(polled ? { polled } : { resync }) });
  }

  /**
   * Called when `due` is reached, when the tab is hidden or shown, and once a second, because the machine may have
   * slept or the panel may have come into sight.
   */
  wake() {
    const wasHidden = this.hidden;
    this.hidden = isHidden(this.panel);
    const { state } = this;
    const now = Date.now();
    if (wasHidden && !this.hidden) {
      if (state.name === 'streaming') {
        if (now < state.alive) {
          this.read(state, true);
          return;
        }
      } else if (state.name === 'waiting' && now >= state.earliest) {
        this.ask();
        return;
      }
    }
    if (now < this.due) {
      return;
    }
    if (state.name === 'asking') {
      this.trouble('failure');
    } else if (state.name === 'streaming') {
      const late = now - state.alive;
      this.trouble(late < 0 ? 'hole' : wasHidden || late > OVERSLEPT ? 'asleep' : 'silence');
    } else {
      this.ask();
    }
  }

  answer(answer: DataQueryResponse) {
    const { state } = this;
    const frame = answer.data[0] as DataFrame | undefined;
    if (frame instanceof StreamingDataFrame) {
      this.packet(frame, answer.error);
    } else if (answer.error || !frame) {
      this.trouble(reasonOf(answer.error), answer.error, retryAfterOf(frame, answer.error));
    } else {
      this.plain(answer, frame, state.name !== 'asking' || state.polled);
    }
  }

  end() {
    this.trouble(this.state.name === 'streaming' ? 'refused' : 'failure');
  }

  fail(error: DataQueryError) {
    this.trouble(reasonOf(error), error, retryAfterOf(undefined, error));
  }

  private packet(buffer: StreamingDataFrame, error?: DataQueryError) {
    const now = Date.now();
    let { state } = this;
    if (state.name === 'asking') {
      const { nonce, since } = state;
      const channel = buffer.meta.channel ?? '';
      this.panel.nonces.met(this.panel.key, channel);
      const { fields } = buffer;
      const took = now - since;
      const identities = fields.map(identity);
      const rows = new Rows();
      state = {
        name: 'streaming',
        since: now,
        took,
        channel,
        nonce,
        buffer,
        rows,
        identities,
        fields,
        packets: 0,
        alive: 0,
      };
      this.state = state;
      state.alive = now + SILENCE + took;
    }
    if (state.name !== 'streaming') {
      return;
    }
    Object.assign(state, { buffer, error });
    state.rows.take(buffer);
    if (!error) {
      state.packets++;
      state.alive = now + SILENCE + state.took;
    }
    if (!this.hidden || !this.shown) {
      this.read(state);
    }
  }

  /**
   * Shows the rows of the buffer if they are exact. A hole gets no grace if the panel was hidden until now, because
   * then nobody watched the buffer.
   */
  private read(state: Streaming, unwatched = false) {
    const { buffer, error, packets } = state;
    if (buffer.fields !== state.fields) {
      if (!isEqual(buffer.fields.map(identity), state.identities)) {
        this.trouble(buffer.fields[1]?.name === 'health' ? 'health' : 'fields');
        return;
      }
      state.fields = buffer.fields;
    }
    const { refId, wanted } = this.panel;
    const { rows, doubt, mendable, outgrown } = state.rows.read(buffer, refId, wanted?.());
    if (doubt && !(mendable && !unwatched)) {
      this.trouble(outgrown ? 'range' : doubt);
    } else if (rows) {
      state.mended = undefined;
      const { notice, proveAfter = Infinity } = this.reason ? POLICY[this.reason] : { notice: undefined };
      const unproven = packets < 2 && this.tries >= proveAfter;
      this.show(rows, messageOf(error) ?? (unproven ? `${notice} Asking again.` : undefined));
      if (outgrown) {
        this.actions.outgrow();
      }
    } else {
      state.mended ??= Date.now() + GRACE;
    }
  }

  /**
   * Shows an answer without a stream. If a warning says why there is no stream, the reason may pass, so the panel is
   * polled; so is an answer that asks for it. Other notices are only remarks. Polled answers get the state Streaming, because only with that state Grafana moves the time axis.
   */
  private plain(answer: DataQueryResponse, frame: DataFrame, polled: boolean) {
    const { refId: key, grows, wanted } = this.panel;
    this.tries = 0;
    const terms = frame.meta?.custom as Partial<Terms> | undefined;
    const { notices = [] } = frame.meta ?? {};
    const polls = terms?.poll || notices.some(({ severity }) => severity !== 'info');
    if (!polled && !grows && !polls) {
      this.state = { name: 'done' };
      this.actions.show({ ...answer, key });
      this.actions.complete();
      return;
    }
    this.actions.leave();
    const step = frame.fields[0]?.config.interval ?? 0;
    this.state = { name: 'polling', until: Date.now() + Math.max(POLL, step / POLLS_PER_STEP) };
    // An answer with the newest window has more rows than the range, so it is cut to the range. Other answers have no
    // window and are shown as they are.
    const rows = exact(frame, key, wanted?.()).rows ?? frame;
    if (polled) {
      this.show(rows, this.reason && `${POLICY[this.reason].notice} Shown without a live stream for some minutes.`);
    } else {
      this.reason = 'refused';
      this.show(rows);
    }
  }

  /** Unsubscribes from the running query, and decides what is shown meanwhile and when to ask again. */
  private trouble(reason: Reason, error?: DataQueryError, retryAfter = 0) {
    const { state } = this;
    const now = Date.now();
    const { tellAfter, longest, first = FIRST_WAIT, doubt, renew, notice } = POLICY[reason];
    const calmed = this.isCalm(reason);
    this.actions.leave();
    if (state.name === 'streaming' && renew) {
      this.panel.nonces.renew(this.panel.key, state.channel, state.nonce);
    }
    this.reason = reason;
    this.tries = calmed ? 1 : this.tries + 1;
    if (doubt) {
      this.doubts = calmed ? 1 : this.doubts + 1;
      if (this.doubts >= DOUBTS) {
        this.streamsFrom = now + RETRY;
      }
    }
    const wait = Math.random() * Math.min(longest ?? 0, (retryAfter ? FIRST_WAIT : first) * 2 ** (this.tries - 1));
    const earliest = now + retryAfter;
    this.state = longest ? { name: 'waiting', until: earliest + wait, earliest } : { name: 'done' };
    if (this.tries >= tellAfter) {
      this.complain(messageOf(error) ?? `${notice} Asking again.`, error);
    }
    if (!longest) {
      this.actions.complete();
    }
  }

  /** Whether the stream lasted so long that trouble now is new and not part of the trouble before. */
  private isCalm(reason: Reason): boolean {
    const { state } = this;
    return state.name === 'streaming' && Date.now() - state.since > POLICY[reason].calm;
  }

  // While rows are shown, trouble is reported in a notice: an error would reset the time axis of the panel to the range
  // of the first request.
  private complain(message: string, error?: DataQueryError) {
    const { refId } = this.panel;
    if (this.shown) {
      this.show(this.shown, message);
    } else {
      const why = { ...error, message, refId };
      this.actions.show({ key: refId, state: LoadingState.Error, data: [], error: why });
    }
  }

  private show(rows: DataFrame, notice?: string) {
    this.shown = rows;
    const data = [notice ? noted(rows, notice) : rows];
    this.actions.show({ key: this.panel.refId, state: LoadingState.Streaming, data });
  }
}

const isHidden = ({ isOutOfSight }: Panel) => document.visibilityState === 'hidden' || Boolean(isOutOfSight?.());

/** When guards check the time in addition to their own timers, which fire late after a sleep and in a hidden tab. */
const glances = merge(fromEvent(document, 'visibilitychange'), interval(1000)).pipe(share());

/**
 * Runs one live query and passes on only exact rows: those that a fresh query of the same range would return. When rows
 * are in doubt, it keeps showing the last exact ones and asks again with a new nonce, which gives the stream a new
 * buffer. If there can be no stream, it polls. While the tab is hidden or the panel is out of sight, it keeps its
 * stream but shows nothing and asks for nothing.
 */
export function guard(query: (ask: Ask) => Observable<DataQueryResponse>, panel: Panel): Observable<DataQueryResponse> {
  return new Observable((out) => {
    /** Runs a machine. A machine that follows another one replaces it as soon as it has something to show. */
    const run = (before?: { machine: Machine; leave: Subscription }) => {
      let inner = new Subscription();
      let timer: ReturnType<typeof setTimeout> | undefined;
      let planned = Infinity;
      let next = false;
      const leave = new Subscription(() => {
        inner.unsubscribe();
        clearTimeout(timer);
      });
      out.add(leave);

      const machine = new Machine(panel, {
        ask: (ask) => {
          const mine = (inner = new Subscription());
          // Answers that come while the query is being unsubscribed from are dropped.
          const unlessLeft = (does: () => void) => mine.closed || then(does);
          mine.add(
            defer(() => query(ask)).subscribe({
              next: (answer) => unlessLeft(() => machine.answer(answer)),
              error: (error: DataQueryError) => unlessLeft(() => machine.fail(error)),
              complete: () => unlessLeft(() => machine.end()),
            }),
          );
        },
        leave: () => inner.unsubscribe(),
        show: (answer) => {
          if (before && machine.waits) {
            return; // keep the rows of the other machine rather than show a failure
          }
          before?.leave.unsubscribe();
          before = undefined;
          out.next(answer);
        },
        complete: () => out.complete(),
        outgrow: () => {
          if (!next) {
            next = true;
            run({ machine, leave });
          }
        },
      });

      const then = (does: () => void) => {
        does();
        // A timer is never postponed: one that fires early only sets the next one. So packets need not touch the timer.
        if (machine.due < planned && !leave.closed) {
          clearTimeout(timer);
          planned = machine.due;
          timer = setTimeout(
            () => {
              planned = Infinity;
              then(() => machine.wake());
            },
            Math.min(Math.ceil(planned - Date.now()), LONGEST_TIMER),
          );
        }
      };

      leave.add(glances.subscribe(() => then(() => machine.wake())));
      then(() => (before ? machine.follow(before.machine) : machine.ask()));
    };
    run();
  });
}

function messageOf(error?: DataQueryError): string | undefined {
  return error?.message || error?.data?.message || error?.statusText;
}

/** The frame with a warning added to its notices. */
export function noted(frame: DataFrame, text: string): DataFrame {
  const notice: QueryResultMetaNotice = { severity: 'warning', text };
  return { ...frame, meta: { ...frame.meta, notices: [...(frame.meta?.notices ?? []), notice] } };
}
