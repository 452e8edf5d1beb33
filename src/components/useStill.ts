import { useState, useSyncExternalStore } from 'react';

/**
 * The value, which stays what it was for as long as a mouse button is down. For what changes when the user leaves a
 * field by pressing a button elsewhere: if the page moved at that moment, the button would get no click.
 */
export function useStill<T extends string | undefined>(value: T): T {
  const isPressed = useSyncExternalStore(subscribe, () => pressed);
  const [held, setHeld] = useState(value);
  if (!isPressed && held !== value) {
    setHeld(value);
  }
  return isPressed ? held : value;
}

let pressed = false;

/** What shows that no button is down. When text was dragged or a menu was opened, there is no mouseup. */
const RELEASED = ['mouseup', 'dragend', 'contextmenu', 'keydown'];

function subscribe(changed: () => void): () => void {
  const press = ({ button }: MouseEvent) => {
    pressed = button === 0;
    changed();
  };
  const release = () => {
    pressed = false;
    changed();
  };
  // In the capturing phase: a field is left after that, and before the listeners of the page.
  window.addEventListener('mousedown', press, true);
  for (const event of RELEASED) {
    window.addEventListener(event, release, true);
  }
  return () => {
    window.removeEventListener('mousedown', press, true);
    for (const event of RELEASED) {
      window.removeEventListener(event, release, true);
    }
  };
}
