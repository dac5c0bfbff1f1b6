package orlop.placement;

import java.util.AbstractCollection;
import java.util.Arrays;
import java.util.Collection;
import java.util.Iterator;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.stream.Stream;
import org.jspecify.annotations.Nullable;

/**
 * The copies in one pod. Immutable; spread over shards, so that the next state after one change
 * shares all shards but one: a pod holds tens of thousands of copies and publishes each.
 */
final class PodCopies {
  private static final int SHARDS = 64;
  static final PodCopies NONE = none();

  private final Map<String, Copy>[] shards;
  private final int size;

  private PodCopies(Map<String, Copy>[] shards, int size) {
    this.shards = shards;
    this.size = size;
  }

  @SuppressWarnings({"unchecked", "rawtypes"})
  private static PodCopies none() {
    Map<String, Copy>[] shards = new Map[SHARDS];
    Arrays.fill(shards, Map.of());
    return new PodCopies(shards, 0);
  }

  @Nullable Copy of(String modelId) {
    return shards[shard(modelId)].get(modelId);
  }

  /** All of them, unmodifiable, in no order that means anything. */
  Collection<Copy> all() {
    return new AbstractCollection<>() {
      @Override
      public Iterator<Copy> iterator() {
        return Stream.of(shards).flatMap(shard -> shard.values().stream()).iterator();
      }

      @Override
      public int size() {
        return size;
      }
    };
  }

  private static int shard(String modelId) {
    return MeshView.shard(modelId, SHARDS);
  }

  /** A next state in the making; copies on first write what it changes. */
  static final class Draft {
    private final Map<String, Copy>[] shards;
    private final boolean[] own = new boolean[SHARDS];
    private int size;

    Draft(PodCopies base) {
      shards = base.shards.clone();
      size = base.size;
    }

    void put(Copy copy) {
      if (own(copy.modelId()).put(copy.modelId(), copy) == null) {
        size++;
      }
    }

    @Nullable Copy remove(String modelId) {
      Copy left = own(modelId).remove(modelId);
      size -= left == null ? 0 : 1;
      return left;
    }

    private Map<String, Copy> own(String modelId) {
      int i = shard(modelId);
      if (!own[i]) {
        shards[i] = new LinkedHashMap<>(shards[i]);
        own[i] = true;
      }
      return shards[i];
    }

    /** Not to be used any more after this. */
    PodCopies done() {
      return new PodCopies(shards, size);
    }

    boolean isEmpty() {
      return size == 0;
    }
  }
}
