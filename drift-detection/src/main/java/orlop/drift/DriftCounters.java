package orlop.drift;

/**
 * What a {@link DriftServer} has done with the records it read.
 *
 * @param seen records read
 * @param scored request payloads whose row was taken
 * @param ignored events that are no protobuf requests, or have no numeric features
 * @param poison records that could not be decoded; skipped
 * @param alarms verdicts written
 * @param threadsReplaced stream threads that died and were replaced
 */
public record DriftCounters(
    long seen, long scored, long ignored, long poison, long alarms, long threadsReplaced) {}
