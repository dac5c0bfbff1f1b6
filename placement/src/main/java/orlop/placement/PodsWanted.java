package orlop.placement;

/**
 * How many pods the mesh should have, for whoever adds and removes them.
 *
 * @param pods at least 1
 * @param why one line: what decided, with the numbers
 */
public record PodsWanted(int pods, String why) {}
