package orlop.drift;

/**
 * What a monitor needs to know of the configuration.
 *
 * @param baselineRows rows that make a baseline
 * @param latchRows rows for which a feature stays silent after its alarm
 * @param maxFeatures features that one server watches; more are not watched
 */
record DetectorSettings(int baselineRows, long latchRows, int maxFeatures) {}
