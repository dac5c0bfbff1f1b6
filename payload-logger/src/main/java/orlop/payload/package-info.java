/**
 * The payload log: takes the requests and responses that a pod serves, bounded by bytes and never
 * blocking, and writes them to Kafka as CloudEvents. Kafka is touched by {@link
 * orlop.payload.KafkaSink} alone.
 */
@NullMarked
package orlop.payload;

import org.jspecify.annotations.NullMarked;
