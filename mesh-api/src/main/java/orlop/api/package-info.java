/**
 * The contracts between processes: registry values, pod control and payload events. The wire
 * messages are generated from {@code src/main/protobuf}; no logic lives here.
 */
@NullMarked
package orlop.api;

import org.jspecify.annotations.NullMarked;
