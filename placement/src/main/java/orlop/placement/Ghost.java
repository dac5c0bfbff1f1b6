package orlop.placement;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;

/**
 * A cache without models: what one policy would have kept of the models that are followed, and the
 * load time that it would have missed. Owned by {@link Adaptive}.
 */
final class Ghost {
  private static final int DRAWN = 32;

  /** One model that is followed; what all ghosts know of it is shared. */
  static final class Shade implements EvictionPolicy.Resident {
    private final String modelId;
    private final long[] usesNs = new long[EvictionPolicy.USES_KEPT];
    private final int[] usesIn;
    private final int[] seatIn;
    private int known;
    private double share;
    private double costNs;
    private int asking;
    long seenAt;

    Shade(String modelId, int ghosts) {
      this.modelId = modelId;
      usesIn = new int[ghosts];
      seatIn = new int[ghosts];
      Arrays.fill(seatIn, -1);
    }

    void used(EvictionPolicy.Resident real, long atNs) {
      share = real.share();
      costNs = real.costNs();
      System.arraycopy(usesNs, 0, usesNs, 1, usesNs.length - 1);
      usesNs[0] = atNs;
      known = Math.min(known + 1, usesNs.length);
    }

    @Override
    public String modelId() {
      return modelId;
    }

    @Override
    public Memory size() {
      return Memory.NONE;
    }

    @Override
    public double share() {
      return share;
    }

    @Override
    public long lastUsedNs() {
      return usesNs[0];
    }

    @Override
    public double costNs() {
      return costNs;
    }

    @Override
    public long uses() {
      return usesIn[asking];
    }

    @Override
    public int usesKnown() {
      return known;
    }

    @Override
    public long useNs(int k) {
      return usesNs[k - 1];
    }
  }

  final EvictionPolicy policy;
  private final int self;
  private final List<Shade> seats = new ArrayList<>();
  private double held;
  private long draws;

  /**
   * @param self its place among the ghosts
   */
  Ghost(EvictionPolicy policy, int self) {
    this.policy = policy;
    this.self = self;
  }

  /**
   * The model was used.
   *
   * @param room the share of the memory that the followed models have
   * @return the load time that was missed, 0 for a hit
   */
  double use(Shade shade, double room, long nowNs) {
    if (shade.seatIn[self] >= 0) {
      shade.usesIn[self]++;
      return 0;
    }
    if (shade.share <= room) {
      shrink(room - shade.share, nowNs);
      shade.usesIn[self] = 1;
      shade.seatIn[self] = seats.size();
      seats.add(shade);
      held += shade.share;
    }
    return shade.costNs;
  }

  /** Lets go of what is worth least until no more than that is held. */
  void shrink(double room, long nowNs) {
    while (held > room && !seats.isEmpty()) {
      Shade victim = worthLeast(nowNs);
      policy.evicted(victim, nowNs);
      drop(victim);
    }
  }

  private Shade worthLeast(long nowNs) {
    Shade least = seats.getFirst();
    double lowest = Double.POSITIVE_INFINITY;
    int all = seats.size();
    for (int i = 0; i < Math.min(all, DRAWN); i++) {
      Shade one = seats.get(all <= DRAWN ? i : Seats.drawn(++draws, all));
      one.asking = self;
      double value = policy.value(one, nowNs);
      if (value < lowest) {
        lowest = value;
        least = one;
      }
    }
    least.asking = self;
    return least;
  }

  /** Idempotent. */
  void drop(Shade shade) {
    int seat = shade.seatIn[self];
    if (seat < 0) {
      return;
    }
    Shade last = seats.removeLast();
    if (last != shade) {
      seats.set(seat, last);
      last.seatIn[self] = seat;
    }
    shade.seatIn[self] = -1;
    held -= shade.share;
  }

  /** The model's size is another one now. */
  void resized(Shade shade, double before) {
    if (shade.seatIn[self] >= 0) {
      held += shade.share - before;
    }
  }
}
