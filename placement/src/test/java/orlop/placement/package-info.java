/** Promises of the mesh's decisions, as examples and as properties against naive models. */
@NullMarked
package orlop.placement;

import org.jspecify.annotations.NullMarked;
