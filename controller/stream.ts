import type { ControllerMessageInput } from '../generated/proto/iovn/v1/ControllerMessage.js';

/** The controller's end of one agent's connection. */
export interface Stream {
  /** `written` is called when the transport has taken the message, and never after the stream has ended. */
  send(message: ControllerMessageInput, written: () => void): void;
  /** The same agent has opened a newer stream. */
  replaced(): void;
  /** The chassis' rows are gone: says so and ends. */
  decommissioned(): void;
}
