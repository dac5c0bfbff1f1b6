/**
 * A mesh in virtual time: the production router, placer, planner and caches of many pods, one
 * thread, one seed, cruel faults. Nothing that ships imports it.
 */
@NullMarked
package orlop.sim;

import org.jspecify.annotations.NullMarked;
