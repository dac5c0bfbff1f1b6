package orlop.placement;

/**
 * What the models in one pod take. Mutable, owned by the cache.
 *
 * <p>{@link #used} is what is loading, loaded or unloading. {@link #kept} is the part of it that
 * will still be here when the unloads under way are done; a failed unload counts as kept, because
 * nobody knows when it succeeds.
 */
final class CacheMemory {
  private final Memory capacity;
  private final int maxResidents;
  private Memory used = Memory.NONE;
  private Memory freeing = Memory.NONE;
  private int residents;
  private int residentsFreeing;

  CacheMemory(Memory capacity, int maxResidents) {
    this.capacity = capacity;
    this.maxResidents = maxResidents;
  }

  Memory capacity() {
    return capacity;
  }

  Memory used() {
    return used;
  }

  Memory kept() {
    return used.minus(freeing);
  }

  int residents() {
    return residents;
  }

  /** Whether a model of this size may start to load now. */
  boolean free(Memory size) {
    return used.plus(size).fitsIn(capacity) && residents < maxResidents;
  }

  /** What is kept beyond the capacity when this much comes on top. */
  Memory missing(Memory more) {
    return kept().plus(more).minus(capacity);
  }

  /** Residents kept beyond the bound when so many come on top. */
  int missingSlots(int more) {
    return Math.max(0, residents - residentsFreeing + more - maxResidents);
  }

  void take(Memory size) {
    used = used.plus(size);
    residents++;
  }

  void correct(Memory expected, Memory measured) {
    used = used.minus(expected).plus(measured);
  }

  void giveBack(Memory size) {
    used = used.minus(size);
    residents--;
  }

  /** Its unload is under way. */
  void freeing(Memory size) {
    freeing = freeing.plus(size);
    residentsFreeing++;
  }

  /** Its unload is done or has failed. */
  void freeingEnded(Memory size) {
    freeing = freeing.minus(size);
    residentsFreeing--;
  }
}
