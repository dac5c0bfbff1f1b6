/**
 * One serving pod: takes inference calls, finds the pod that shall answer them, holds models in
 * memory and runs them.
 *
 * <p>The decisions are those of {@code orlop.placement}; this package gathers their arguments and
 * carries them out.
 */
@NullMarked
package orlop.pod;

import org.jspecify.annotations.NullMarked;
