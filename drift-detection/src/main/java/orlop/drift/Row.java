package orlop.drift;

import java.util.List;

/**
 * One row of one payload, chosen by the event's hash.
 *
 * @param seed the event's seed, for tie-breakers
 * @param keys the features, in the payload's order
 * @param values one value per feature
 */
record Row(long seed, List<FeatureKey> keys, float[] values) {}
