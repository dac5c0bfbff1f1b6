/**
 * Drift detection: reads the payload topic, learns what is normal for each input feature of each
 * model, and writes a verdict when a feature has changed, under one budget of false alarms for all
 * of them. The detector is pure; Kafka Streams is touched by {@link orlop.drift.DriftServer} and
 * the processor it runs.
 */
@NullMarked
package orlop.drift;

import org.jspecify.annotations.NullMarked;
