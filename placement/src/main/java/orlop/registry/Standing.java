package orlop.registry;

/**
 * What a candidate is in the election of the one planner.
 *
 * @param leaderId the candidate that leads; empty when none does, or it is not known
 */
public record Standing(Place place, String leaderId) {
  /** Nothing is known yet, or no more. */
  public static final Standing NONE = new Standing(Place.WAITS, "");

  /** At most one candidate leads, and at most one is next. */
  public enum Place {
    /** It plans. */
    LEADS,
    /** It will lead when the leader ends; until then it sees to it that it knows enough. */
    NEXT,
    WAITS
  }

  public boolean leads() {
    return place == Place.LEADS;
  }

  public boolean isNext() {
    return place == Place.NEXT;
  }
}
