/**
 * Who holds what, and who should: the mesh's decisions as pure code.
 *
 * <p>Nothing here does I/O, reads a clock, starts a thread or logs. Time and randomness are
 * arguments, so the same classes run in production and in the simulator.
 */
@NullMarked
package orlop.placement;

import org.jspecify.annotations.NullMarked;
