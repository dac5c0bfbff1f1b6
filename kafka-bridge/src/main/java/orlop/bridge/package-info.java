/**
 * Streams of Kafka records scored through the mesh, exactly once: executions run in any order,
 * their results leave in the order of the input, and each transaction holds results and offsets
 * together.
 */
@NullMarked
package orlop.bridge;

import org.jspecify.annotations.NullMarked;
