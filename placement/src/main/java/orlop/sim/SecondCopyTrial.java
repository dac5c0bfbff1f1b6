package orlop.sim;

import java.util.HashMap;
import java.util.HashSet;
import java.util.Map;
import java.util.Set;
import java.util.SplittableRandom;
import org.jspecify.annotations.Nullable;
import orlop.placement.CopyState;

/** Calls some models steadily and others for a moment, and waits for their second copies. */
final class SecondCopyTrial {
  private static final long LOAD_NS = 25 * Timeline.SECOND;

  /** Models of each kind. */
  private static final int EACH = 16;

  private final PlannerMesh mesh;
  private final SplittableRandom random;
  private final Map<String, Long> calledNs = new HashMap<>();
  private final Map<String, Long> servedNs = new HashMap<>();
  private final Map<String, Long> secondNs = new HashMap<>();
  private final Map<String, Set<String>> where = new HashMap<>();

  SecondCopyTrial(long seed) {
    mesh =
        new PlannerMesh(
            PlannerSetup.of(PlannerTrials.PODS, 16 * PlannerTrials.GB, seed).deadlineMs(90_000));
    random = new SplittableRandom(seed);
    mesh.clockwork((id, startNs, tookNs) -> servedNs.putIfAbsent(id, mesh.nowNs()));
    mesh.watch(this::changed);
  }

  private void changed(String podId, String id, @Nullable CopyState state) {
    Set<String> pods = where.computeIfAbsent(id, key -> new HashSet<>());
    if (state instanceof CopyState.Loaded && pods.add(podId) && pods.size() == 2) {
      secondNs.putIfAbsent(id, mesh.nowNs());
    }
  }

  PlannerTrials.Second run() {
    for (int i = 0; i < EACH; i++) {
      mesh.register(steady(i), PlannerTrials.GB / 2, LOAD_NS);
      mesh.register(once(i), PlannerTrials.GB / 2, LOAD_NS);
      long startNs = (20 + random.nextLong(400)) * Timeline.SECOND;
      callSteadily(i, startNs);
      callForAMoment(i, startNs);
    }
    mesh.timeline().runUntil(Timeline.START_NS + 20 * Timeline.MINUTE);
    return result();
  }

  private static String steady(int i) {
    return "steady" + i;
  }

  private static String once(int i) {
    return "once" + i;
  }

  /** Every one to four seconds for five minutes. */
  private void callSteadily(int i, long startNs) {
    long periodNs = (i % 4 + 1) * Timeline.SECOND;
    for (long at = startNs; at < startNs + 5 * Timeline.MINUTE; at += periodNs) {
      mesh.timeline().after(at, () -> call(steady(i)));
    }
  }

  /** One call, two calls 40 s apart, a burst of a hundred, six calls 100 s apart. */
  private void callForAMoment(int i, long startNs) {
    int calls = new int[] {1, 2, 100, 6}[i % 4];
    long gapMs = new long[] {0, 40_000, 50, 100_000}[i % 4];
    for (int n = 0; n < calls; n++) {
      mesh.timeline().after(startNs + n * gapMs * Timeline.MS, () -> call(once(i)));
    }
  }

  private void call(String id) {
    calledNs.putIfAbsent(id, mesh.nowNs());
    mesh.call(id);
  }

  private PlannerTrials.Second result() {
    long slowest = 0;
    long cold = 0;
    int without = 0;
    int oneOff = 0;
    for (int i = 0; i < EACH; i++) {
      String id = steady(i);
      Long second = secondNs.get(id);
      if (second == null) {
        without++;
      } else {
        slowest = Math.max(slowest, second - servedNs.getOrDefault(id, second));
        cold = Math.max(cold, second - calledNs.getOrDefault(id, second));
      }
      oneOff += secondNs.containsKey(once(i)) ? 1 : 0;
    }
    return new PlannerTrials.Second(
        PlannerTrials.seconds(slowest), PlannerTrials.seconds(cold), without, oneOff);
  }
}
