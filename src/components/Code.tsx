import React, { type CSSProperties } from 'react';

/** Text of a machine, such as a message or a command. Unlike Grafana's own, it is broken where it would not fit. */
export const Code = ({ children }: { children: string }) => <code style={WRAPPED}>{children}</code>;

const WRAPPED: CSSProperties = { whiteSpace: 'pre-wrap', overflowWrap: 'anywhere' };
