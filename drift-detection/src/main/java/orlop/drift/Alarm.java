package orlop.drift;

/**
 * A feature has changed.
 *
 * @param direction kind of change
 * @param bet name of the winning bet
 * @param effects how large it is
 * @param rowsSinceBaseline values seen since the baseline was complete
 * @param rowsSinceChange estimate of the values since the change began
 * @param evidenceLog10 log10 of the winning bet's gain since then
 * @param changeMs capture time of the first value after the estimated change
 */
record Alarm(
    Direction direction,
    String bet,
    Effects effects,
    long rowsSinceBaseline,
    long rowsSinceChange,
    double evidenceLog10,
    long changeMs) {}
