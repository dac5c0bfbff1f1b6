/**
 * Pods as their users meet them: processes that only their environment configures, a runtime beside
 * each in a process of its own, driven by gRPC alone.
 */
@NullMarked
package orlop.blackbox;

import org.jspecify.annotations.NullMarked;
