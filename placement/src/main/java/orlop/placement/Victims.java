package orlop.placement;

import java.util.ArrayList;
import java.util.Comparator;
import java.util.List;
import org.jspecify.annotations.Nullable;

/**
 * The choice of what leaves to make room: the models worth least, as few as suffice.
 *
 * <p>Takes candidates from the least valuable up until the need is met, passing over those that
 * give nothing of what is still missing, then spares, from the most valuable down, each one that
 * the rest can do without. So with one kind of memory less leaves than the need plus one model.
 * Pure; O(n log n).
 */
final class Victims {
  /** A candidate; the lowest value leaves first. */
  record Candidate(CacheEntry entry, double value) {}

  private static final Comparator<Candidate> CHEAPEST_FIRST =
      Comparator.comparingDouble(Candidate::value)
          .thenComparing(candidate -> candidate.entry().modelId);

  private Victims() {}

  /**
   * @param missing memory to make free
   * @param missingSlots residents to make leave, whatever their size
   * @return null when all candidates together do not suffice
   */
  static @Nullable List<CacheEntry> choose(
      List<Candidate> candidates, Memory missing, int missingSlots) {
    List<Candidate> sorted = new ArrayList<>(candidates);
    sorted.sort(CHEAPEST_FIRST);
    List<CacheEntry> chosen = new ArrayList<>();
    Memory gained = Memory.NONE;
    for (Candidate candidate : sorted) {
      if (suffices(gained, chosen.size(), missing, missingSlots)) {
        break;
      }
      CacheEntry entry = candidate.entry();
      if (helps(entry.size, missing.minus(gained), missingSlots - chosen.size())) {
        chosen.add(entry);
        gained = gained.plus(entry.size);
      }
    }
    if (!suffices(gained, chosen.size(), missing, missingSlots)) {
      return null;
    }
    for (int i = chosen.size() - 1; i >= 0; i--) {
      Memory without = gained.minus(chosen.get(i).size);
      if (suffices(without, chosen.size() - 1, missing, missingSlots)) {
        gained = without;
        chosen.remove(i);
      }
    }
    return chosen;
  }

  private static boolean suffices(Memory gained, int slots, Memory missing, int missingSlots) {
    return missing.fitsIn(gained) && slots >= missingSlots;
  }

  private static boolean helps(Memory size, Memory missing, int missingSlots) {
    return missingSlots > 0
        || (missing.ramBytes() > 0 && size.ramBytes() > 0)
        || (missing.vramBytes() > 0 && size.vramBytes() > 0);
  }
}
