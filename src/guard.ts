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
import { Ask, Resync } from './types';

/** The overlap is repeated 0.25 s and 1 s after a join, so that a hole which this does not fill stays. */
const GRACE = 1_500;
/** How long a stream may be without a packet: it repeats its newest rows while it has no new ones. */
const SILENCE = 15_000;
/** How often a panel asks that is shown without a stream, */
const POLL = 15_000;
/** and how often in a step, if that is long. */
const POLLS_PER_STEP = 240;
/** A panel whose streams were in doubt so often in a row is polled, */
const DOUBTS = 3;
/** and after this long it may have a stream again. */
const RETRY = 600_000;
/** A deadline that was missed by so much was missed because the tab was hidden or the machine asleep. */
const OVERSLEPT = 5_000;
const FIRST_WAIT = 250;
/** setTimeout fires at once when it is given more. */
const LONGEST_TIMER = 2 ** 31 - 1;

/** Why a panel asks again, or ceases to. */
type Reason = Resync | 'asleep' | 'busy' | 'refusal';

interface Policy {
  /** What the back end counts. */
  resync: Resync;
  notice: string;
  /** The user is told when it happens so often in a row. */
  tellAfter: number;
  /** A stream that comes after so many in a row is trusted when it brings more than its beginning. */
  proveAfter?: number;
  /** A stream that lasted longer was not part of the same trouble. In milliseconds, like `longest`. */
  calm: number;
  /** The longest wait. Only a refresh asks again where there is none. */
  longest?: number;
  /** The first wait, where the answer does not say how long it is to be. */
  first?: number;
  /** The rows are in doubt, and `DOUBTS` in a row make the panel poll. */
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
  // There are queries whose series come and go all the time, and sources whose samples are always late.
  fields: { ...doubt, resync: 'fields', calm: 60_000, notice: 'The series have changed.' },
  silence: { ...dead, resync: 'silence', proveAfter: 1, notice: 'No live rows arrive.' },
  refused: { ...dead, resync: 'refused', proveAfter: 3, notice: 'Grafana does not let this panel stream.' },
  asleep: { ...quiet, resync: 'silence', renew: true },
  range: { ...quiet, resync: 'range' },
  // An input went down or is back: the answer says so, and its rows are not in doubt.
  health: { ...quiet, resync: 'health', renew: true },
  failure: { ...failed, notice: 'No answer from the data source.' },
  // Too many requests are no reason for another one at once.
  busy: { ...failed, notice: 'The data source is busy.', first: 5_000 },
  refusal: { ...failed, notice: 'The query was refused.', longest: undefined },
};

/** What kind of failure an error is. There is none when a request failed on its way. */
function reasonOf(error?: DataQueryError): Reason {
  const { messageId = '' } = (error?.data ?? {}) as { messageId?: string };
  const { status = 0 } = error ?? {};
  if (status === 429 || status === 503) {
    return 'busy';
  }
  const passes = status === 408 || messageId.startsWith('plugin.'); // the plugin is being restarted
  return status >= 400 && status <= 500 && !passes ? 'refusal' : 'failure';
}

/** How long a busy server wants to be left alone, in milliseconds, where it says so. */
function retryAfterOf(frame?: DataFrame, error?: DataQueryError): number {
  const { retryAfter } = (frame?.meta?.custom ?? {}) as { retryAfter?: number };
  // Grafana's front end passes no headers on. Its own API has the seconds in what it answers, as Kubernetes does.
  const { details } = (error?.data ?? {}) as { details?: { retryAfterSeconds?: number } };
  return (retryAfter ?? details?.retryAfterSeconds ?? 0) * 1000;
}

/** What a guard is told of its panel. */
export interface Panel {
  refId: string;
  nonces: Nonces;
  /** The same for queries that may have the same channel. */
  key: string;
  /** The rows that the panel's range has now; by default the newest window of them. */
  wanted?: () => Wanted;
  /** Whether a range that is too short for a stream will become longer. */
  grows?: boolean;
  /** How long an answer may take, in milliseconds. */
  patience: number;
  /** Whether the panel is out of sight, so that nobody would see what it shows. */
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
  /** Of the buffer, as they were first and as they were found to be the same. */
  identities: Array<ReturnType<typeof identity>>;
  fields: Field[];
  packets: number;
  /** It is dead without a packet until then. */
  alive: number;
  /** A hole has until then to be filled. */
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
  /** Leaves what was asked for. */
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
 * When a range outgrows the window of its stream, another machine follows: the stream goes on until that one has rows.
 */
class Machine {
  private state: State = { name: 'done' };
  private reason?: Reason;
  private tries = 0;
  private doubts = 0;
  /** No streams before. */
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

  /** Whether it has nothing new to show, and will ask again. */
  get waits(): boolean {
    return this.state.name === 'waiting';
  }

  /** Asks for what the stream of another one has no window for. */
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

  /** The time is due, the panel was hidden or is seen again, or the machine may have slept. */
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

  /** Shows what the buffer has, if it is exact. A hole is in doubt at once where nobody has watched it. */
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
   * Shows an answer without a stream. Where the user should know, a notice says why, and that may pass. Grafana's axis
   * goes on with answers that stream, and these come again.
   */
  private plain(answer: DataQueryResponse, frame: DataFrame, polled: boolean) {
    const { refId: key, grows, wanted } = this.panel;
    this.tries = 0;
    if (!polled && !grows && !frame.meta?.notices?.length) {
      this.state = { name: 'done' };
      this.actions.show({ ...answer, key });
      this.actions.complete();
      return;
    }
    this.actions.leave();
    const step = frame.fields[0]?.config.interval ?? 0;
    this.state = { name: 'polling', until: Date.now() + Math.max(POLL, step / POLLS_PER_STEP) };
    // The newest window of a stream is more than the range, and only its rows can be read like a stream's.
    const rows = exact(frame, key, wanted?.()).rows ?? frame;
    if (polled) {
      this.show(rows, this.reason && `${POLICY[this.reason].notice} Shown without a live stream for some minutes.`);
    } else {
      this.reason = 'refused';
      this.show(rows);
    }
  }

  /** Leaves what was asked for, and decides what is shown meanwhile and when to ask again. */
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

  /** Whether the stream lasted too long to be part of the same trouble. */
  private isCalm(reason: Reason): boolean {
    const { state } = this;
    return state.name === 'streaming' && Date.now() - state.since > POLICY[reason].calm;
  }

  // While rows are shown trouble is said in a notice: an error would throw the panel's time axis back to the range of
  // the first request.
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

/** When guards look at the time beside their own timers: these run late after a sleep, and in a hidden tab. */
const glances = merge(fromEvent(document, 'visibilitychange'), interval(1000)).pipe(share());

/**
 * Runs one live query and passes on only what is exact: what a fresh query of the same range would return. On any doubt
 * it keeps what it has shown and asks again, under a nonce that gives it a new buffer. Where no stream is to be had this
 * amounts to polling. Nothing is shown or asked for in a hidden tab or out of sight; the streams stay.
 */
export function guard(query: (ask: Ask) => Observable<DataQueryResponse>, panel: Panel): Observable<DataQueryResponse> {
  return new Observable((out) => {
    /** Runs a machine. One that follows another takes its place as soon as it has something to show. */
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
          // What is emitted while it is being left is dropped.
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
            return; // what is shown is better than what failed
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
        // A timer that fires early does nothing but set the next one, so that packets need not touch it.
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

/** The frame with a warning beside those that it has. */
export function noted(frame: DataFrame, text: string): DataFrame {
  const notice: QueryResultMetaNotice = { severity: 'warning', text };
  return { ...frame, meta: { ...frame.meta, notices: [...(frame.meta?.notices ?? []), notice] } };
}
