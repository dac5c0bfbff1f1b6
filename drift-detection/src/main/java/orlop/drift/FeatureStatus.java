package orlop.drift;

/**
 * What an onlooker may know of one feature.
 *
 * @param phase LEARNING, WATCHING or LATCHED
 * @param baselineRows rows in the baseline, so far or in all
 * @param rows rows watched since then
 * @param evidenceLog10 log10 of the best bet's gain since the change it suspects
 * @param furtherLog10 log10 of the winning bet's gain since its alarm; 0 unless latched
 */
record FeatureStatus(
    String tensor,
    int index,
    String phase,
    int baselineRows,
    long rows,
    double evidenceLog10,
    double furtherLog10) {}
