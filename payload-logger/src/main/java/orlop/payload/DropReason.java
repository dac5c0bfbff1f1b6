package orlop.payload;

/** Why a captured event did not reach the sink. */
public enum DropReason {
  /** The byte budget was spent: the sink is slower than the traffic, or away. */
  QUEUE_FULL,
  /** The message was larger than {@code maxPayloadBytes}. */
  TOO_LARGE,
  /** The sink refused it, or gave up after its own retries. */
  SINK,
  /** It was still waiting when the close timeout passed, or was offered after the close. */
  SHUTDOWN,
  /** It exceeded {@code maxEventsPerSecond}. */
  RATE,
  /** It was malformed, or larger than {@code maxPayloadBytes} once unpacked. */
  UNREADABLE
}
