/**
 * The shell around the view: what the mesh knows, kept in etcd or in this process. The only package
 * that talks to etcd.
 */
@NullMarked
package orlop.registry;

import org.jspecify.annotations.NullMarked;
