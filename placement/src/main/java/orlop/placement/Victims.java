package orlop.placement;

import java.util.ArrayList;
import java.util.Comparator;
import java.util.List;
import org.jspecify.annotations.Nullable;

/**
 * What leaves to make room, gathered from the least valuable up until the need is met; then those
 * are spared, from the most valuable down, that the rest can do without. So with one kind of memory
 * less leaves than the need plus one model.
 */
final class Victims {
  private static final Comparator<CacheEntry> CHEAPEST_FIRST =
      Comparator.<CacheEntry>comparingDouble(entry -> entry.rank)
          .thenComparing(entry -> entry.modelId);

  private final Memory missing;
  private final int missingSlots;
  private final List<CacheEntry> chosen = new ArrayList<>();
  private Memory gained = Memory.NONE;

  /**
   * @param missing memory to make free
   * @param missingSlots residents to make leave, whatever their size
   */
  Victims(Memory missing, int missingSlots) {
    this.missing = missing;
    this.missingSlots = missingSlots;
  }

  boolean suffice() {
    return suffices(gained, chosen.size());
  }

  /** Whether one of this size gives something of what is still missing. */
  boolean helps(Memory size) {
    Memory still = missing.minus(gained);
    return missingSlots > chosen.size()
        || (still.ramBytes() > 0 && size.ramBytes() > 0)
        || (still.vramBytes() > 0 && size.vramBytes() > 0);
  }

  void add(CacheEntry entry) {
    chosen.add(entry);
    gained = gained.plus(entry.size);
  }

  /** Without those that the rest can do without. */
  List<CacheEntry> fewest() {
    for (int i = chosen.size() - 1; i >= 0; i--) {
      Memory without = gained.minus(chosen.get(i).size);
      if (suffices(without, chosen.size() - 1)) {
        gained = without;
        chosen.remove(i);
      }
    }
    return chosen;
  }

  private boolean suffices(Memory gain, int slots) {
    return missing.fitsIn(gain) && slots >= missingSlots;
  }

  /**
   * Chooses among all candidates by their {@link CacheEntry#rank}. O(n log n).
   *
   * @return null when all candidates together do not suffice
   */
  static @Nullable List<CacheEntry> choose(
      List<CacheEntry> candidates, Memory missing, int missingSlots) {
    List<CacheEntry> sorted = new ArrayList<>(candidates);
    sorted.sort(CHEAPEST_FIRST);
    Victims victims = new Victims(missing, missingSlots);
    for (CacheEntry candidate : sorted) {
      if (victims.suffice()) {
        break;
      }
      if (victims.helps(candidate.size)) {
        victims.add(candidate);
      }
    }
    return victims.suffice() ? victims.fewest() : null;
  }
}
