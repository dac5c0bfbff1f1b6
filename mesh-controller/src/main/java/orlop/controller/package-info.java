/**
 * Says what the mesh should hold: the management interface that runs in every pod, and the planning
 * loop of which one leads.
 */
@NullMarked
package orlop.controller;

import org.jspecify.annotations.NullMarked;
