/**
 * The benchmarks behind {@code ./orlop bench}: each measures what an operator pays or gains, prints
 * its table, and ends with one JSON object. Nothing that ships imports it but the command line.
 */
@NullMarked
package orlop.bench;

import org.jspecify.annotations.NullMarked;
