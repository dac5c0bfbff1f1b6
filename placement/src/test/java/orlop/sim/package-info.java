/** The mesh under faults, seed after seed. */
@NullMarked
package orlop.sim;

import org.jspecify.annotations.NullMarked;
