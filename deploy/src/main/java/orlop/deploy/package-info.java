/**
 * The only composition root: the command line, the servers that a development mesh needs around it,
 * and the demo's data and models. Nothing imports this package; it may import all others, read the
 * environment and end the process.
 */
@NullMarked
package orlop.deploy;

import org.jspecify.annotations.NullMarked;
