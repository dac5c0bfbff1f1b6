package orlop.placement;

/**
 * Highest-random-weight hashing: every pod ranks the pods for a model in the same order, and a pod
 * that comes or goes changes the choice for its share of the models alone. Source: Thaler and
 * Ravishankar, "Using name-based mappings to increase hit rates", 1998.
 */
final class Rendezvous {
  private Rendezvous() {}

  /** Weight of a pod for a model; uniform over all longs. */
  static long weight(String modelId, String podId) {
    return weight(hash(modelId), podId);
  }

  /** The model's part of the weight, for whoever weighs many pods. */
  static long hash(String modelId) {
    return fnv(0xcbf29ce484222325L, modelId) ^ 0x9e3779b97f4a7c15L;
  }

  static long weight(long modelHash, String podId) {
    return mix(fnv(modelHash, podId));
  }

  /** Weight of a pod for one call of a model; independent from call to call. */
  static long weight(long modelHash, String podId, long salt) {
    return mix(weight(modelHash, podId) ^ mix(salt + 0x9e3779b97f4a7c15L));
  }

  // Finaliser of MurmurHash3: FNV alone leaves the high bits of short strings alike.
  private static long mix(long hash) {
    long h = hash;
    h ^= h >>> 33;
    h *= 0xff51afd7ed558ccdL;
    h ^= h >>> 33;
    h *= 0xc4ceb9fe1a85ec53L;
    return h ^ (h >>> 33);
  }

  private static long fnv(long h, String s) {
    for (int i = 0; i < s.length(); i++) {
      h = (h ^ s.charAt(i)) * 0x100000001b3L;
    }
    return h;
  }
}
