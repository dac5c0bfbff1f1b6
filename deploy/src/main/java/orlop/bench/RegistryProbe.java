package orlop.bench;

import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import com.sun.management.OperatingSystemMXBean;
import java.lang.management.ManagementFactory;
import java.util.Set;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicLong;
import orlop.placement.Memory;
import orlop.placement.Pod;
import orlop.registry.EtcdRegistry;
import orlop.registry.RegistryConfig;

/**
 * The part of {@link RegistryBench} that needs a process of its own: how long a cold start takes to
 * build the view, what the view takes, and what a pod costs that has nothing to do. Prints one JSON
 * object.
 */
final class RegistryProbe {
  private RegistryProbe() {}

  /** Arguments: endpoint, mesh, seconds to be idle. */
  public static void main(String[] args) throws Exception {
    RegistryConfig config = RegistryConfig.of(args[0], args[1]).withTimes(10_000, 60_000);
    ObjectNode answer = new ObjectMapper().createObjectNode();
    long usedFull = withRegistry(config, Integer.parseInt(args[2]), answer);
    // Its frame is gone, so nothing holds the view any more.
    long viewBytes = usedFull - usedBytes();
    answer.put("heapBytesPerModel", viewBytes / answer.path("models").asDouble());
    System.out.println(answer);
  }

  /** Returns the heap in use while the view stands. */
  private static long withRegistry(RegistryConfig config, int idleSeconds, ObjectNode answer)
      throws Exception {
    var system = (OperatingSystemMXBean) ManagementFactory.getOperatingSystemMXBean();
    AtomicLong views = new AtomicLong();
    long beganNs = System.nanoTime();
    try (EtcdRegistry registry = EtcdRegistry.connect(config)) {
      answer.put("viewSeconds", (System.nanoTime() - beganNs) / 1e9);
      answer.put("models", registry.view().modelCount());
      try (var session = registry.join(pod("probe"));
          var unused = registry.listen(view -> views.incrementAndGet())) {
        session.flush(10_000);
        long used = usedBytes();
        // What the start left to do for the compiler is no cost of being idle.
        TimeUnit.SECONDS.sleep(5);
        long cpuBefore = system.getProcessCpuTime();
        long idleBefore = System.nanoTime();
        TimeUnit.SECONDS.sleep(idleSeconds);
        double idleNs = System.nanoTime() - idleBefore;
        answer.put("idleCpuPercentOfCore", 100 * (system.getProcessCpuTime() - cpuBefore) / idleNs);
        return used;
      }
    }
  }

  static Pod pod(String id) {
    return new Pod(
        id,
        id + ":8033",
        "zone-0",
        Set.of("cpu"),
        Memory.ram(16L << 30),
        Memory.NONE,
        0,
        0,
        false,
        System.currentTimeMillis(),
        "1");
  }

  private static long usedBytes() throws InterruptedException {
    Runtime runtime = Runtime.getRuntime();
    long least = Long.MAX_VALUE;
    for (int i = 0; i < 4; i++) {
      System.gc();
      TimeUnit.MILLISECONDS.sleep(100);
      least = Math.min(least, runtime.totalMemory() - runtime.freeMemory());
    }
    return least;
  }
}
