import { isEqual } from 'lodash';
import { KeyboardEvent, useState } from 'react';

interface Draft<T> {
  draft: T;
  setDraft: (draft: T) => void;
  /** For a field that is saved when the user leaves it or presses Enter in it. */
  handlers: { onBlur: () => void; onKeyDown: (event: KeyboardEvent) => void };
}

/**
 * Keeps what is typed apart from what is saved. When the saved value changes, also from elsewhere, the draft follows.
 * `save` is called with a draft that differs from the saved value. It need not save the draft, for example if it is
 * invalid; the draft stays then.
 */
export function useDraft<T>(saved: T, save: (draft: T) => void): Draft<T> {
  const [draft, setDraft] = useState(saved);
  const [seen, setSeen] = useState(saved);
  if (!isEqual(saved, seen)) {
    setSeen(saved);
    setDraft(saved);
  }
  const commit = () => {
    if (!isEqual(draft, saved)) {
      save(draft);
    }
  };
  return {
    draft,
    setDraft,
    handlers: { onBlur: commit, onKeyDown: ({ key }) => key === 'Enter' && commit() },
  };
}
