/**
 * A location in, a verified directory on local disk out; one pull at a time per content.
 *
 * <p>{@link orlop.puller.ModelPuller} is the whole surface. Behind it stand one {@code Source} per
 * store, and a size-bounded disk cache that survives a restart. This package is the only door to
 * the S3 client.
 */
@NullMarked
package orlop.puller;

import org.jspecify.annotations.NullMarked;
