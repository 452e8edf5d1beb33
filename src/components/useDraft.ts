import { isEqual } from 'lodash';
import { KeyboardEvent, useState } from 'react';

interface Draft<T> {
  draft: T;
  setDraft: (draft: T) => void;
  /** For a field that is saved when one leaves it and when one presses Enter in it. */
  handlers: { onBlur: () => void; onKeyDown: (event: KeyboardEvent) => void };
}

/**
 * What is typed, beside what is saved. It follows when something else is saved, be it from elsewhere. `save` gets what
 * was typed if it differs; it may leave it unsaved, and what is typed stays.
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
