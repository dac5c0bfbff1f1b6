package orlop.placement;

import java.util.List;

/**
 * What one step of the planner says.
 *
 * @param changes in the order of their importance
 * @param recall to be handed to the next step
 */
public record Plan(List<Change> changes, PodsWanted podsWanted, Recall recall) {
  public Plan {
    changes = List.copyOf(changes);
  }
}
