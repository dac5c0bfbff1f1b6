package orlop.bench;

import java.io.PrintWriter;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.concurrent.TimeUnit;
import orlop.placement.Eviction;
import orlop.placement.MeshView;
import orlop.registry.EtcdProcess;
import orlop.registry.EtcdRegistry;
import orlop.registry.RegistryConfig;
import picocli.CommandLine.Command;
import picocli.CommandLine.Option;

/**
 * {@code orlop bench recovery}: what callers notice when a pod is killed, when all pods are
 * replaced, and when etcd is away.
 */
@Command(
    name = "recovery",
    mixinStandardHelpOptions = true,
    description = {
      "Three pods and 300 loaded models, one copy of each, called 300 times a second while a pod is",
      "killed, the pod that plans is killed, all pods are replaced one by one, and etcd is away for a",
      "minute. Needs etcd; takes five minutes."
    })
final class RecoveryBench extends Benchmark {
  private static final int PODS = 3;
  private static final int LOADERS = 64;

  /** One copy each, so that what a pod takes along must be loaded anew. */
  private static final String ONE_COPY = "{\"orlop\":{\"maxCopies\":1}}";

  private static final long WINDOW_NS = 1_000_000_000L;

  @Option(
      names = "--models",
      defaultValue = "300",
      description = "Loaded. Default: ${DEFAULT-VALUE}.")
  int models = 300;

  @Option(
      names = "--rate",
      defaultValue = "300",
      description = "Calls a second. Default: ${DEFAULT-VALUE}.")
  int rate = 300;

  @Option(
      names = "--outage-seconds",
      defaultValue = "60",
      description = "For which etcd is away. Default: ${DEFAULT-VALUE}.")
  int outageSeconds = 60;

  @Override
  Figures measure(PrintWriter table) throws Exception {
    Path data = Files.createTempDirectory("orlop-bench-recovery");
    Figures figures = new Figures();
    try (EtcdProcess etcd = EtcdProcess.start(data)) {
      // The first pod that starts plans.
      kill(etcd, "kill", 1, figures, table);
      kill(etcd, "killLeader", 0, figures, table);
      try (BenchMesh mesh = mesh(etcd, "roll", 5_000)) {
        var unused = mesh.register(models, ONE_COPY, true);
        try (SteadyCalls calls = new SteadyCalls(mesh.channel(), models, rate)) {
          TimeUnit.SECONDS.sleep(5);
          replaceAll(mesh, calls, figures, table);
          outage(mesh, etcd, calls, figures, table);
        }
      }
    } finally {
      Bench.delete(data);
    }
    return figures;
  }

  private BenchMesh mesh(EtcdProcess etcd, String name, long loadMs) throws Exception {
    int room = models / (PODS - 1) + models / 20;
    BenchMesh mesh =
        new BenchMesh(
            BenchMesh.setup(etcd.endpoint(), name, loadMs, LOADERS, room, Eviction.ADAPTIVE));
    try {
      for (int i = 0; i < PODS; i++) {
        mesh.start();
      }
      return mesh;
    } catch (Exception e) {
      mesh.close();
      throw e;
    }
  }

  private static void say(PrintWriter table, String format, Object... args) {
    table.println(String.format(Locale.ROOT, format, args));
    table.flush();
  }

  // ---- kill -9

  /**
   * @param name of the mesh, and what its figures begin with
   */
  private void kill(EtcdProcess etcd, String name, int pod, Figures figures, PrintWriter table)
      throws Exception {
    try (BenchMesh mesh = mesh(etcd, name, 1_000)) {
      Map<Integer, String> holders = mesh.register(models, ONE_COPY, true);
      BenchMesh.Running victim = mesh.pods().get(pod);
      RegistryConfig config = RegistryConfig.of(etcd.endpoint(), name);
      try (EtcdRegistry registry = EtcdRegistry.connect(config)) {
        kill(mesh, registry, holders, victim, name, figures, table);
      }
    }
  }

  private void kill(
      BenchMesh mesh,
      EtcdRegistry registry,
      Map<Integer, String> holders,
      BenchMesh.Running victim,
      String name,
      Figures figures,
      PrintWriter table)
      throws Exception {
    long lost = holders.values().stream().filter(victim.id()::equals).count();
    try (SteadyCalls calls = new SteadyCalls(mesh.channel(), models, rate)) {
      // Cold pods are slow for their first seconds.
      TimeUnit.SECONDS.sleep(20);
      long killNs = System.nanoTime();
      victim.process().kill();
      long deadNs = System.nanoTime();
      double cleanSeconds = awaitClean(registry, victim.id(), killNs);
      TimeUnit.NANOSECONDS.sleep(Math.max(0, 15 * WINDOW_NS - (System.nanoTime() - killNs)));
      calls.stop();

      List<SteadyCalls.Done> failed =
          calls.all(c -> c.failed() && c.overlaps(killNs, Long.MAX_VALUE));
      List<SteadyCalls.Done> inFlight =
          calls.all(
              c ->
                  c.overlaps(killNs, deadNs)
                      && (c.entryPort() == victim.port()
                          || victim.id().equals(holders.get(c.model()))));
      double before99 = p99(calls, killNs - 10 * WINDOW_NS, killNs);
      figures
          .add(name + "LostModels", lost)
          .add(name + "InFlightCalls", inFlight.size())
          .atMost(name + "FailedCalls", failed.size(), inFlight.size())
          .add(name + "P99BeforeMillis", before99)
          .atMost(name + "P99Back", secondsUntilBack(calls, killNs, 1.5 * before99), 3)
          .atMost(name + "SurvivorP50Ratio", survivorRatio(calls, holders, victim, killNs), 1.5)
          .atMost(
              name.equals("kill") ? "registryCleanSeconds" : name + "RegistryCleanSeconds",
              cleanSeconds,
              MeshPod.LEASE_MS / 1_000.0 + 1);
      say(
          table,
          "killed %s with %d models: %d calls in flight there, %d failed %s",
          victim.id(),
          lost,
          inFlight.size(),
          failed.size(),
          SteadyCalls.why(failed));
    }
  }

  private static double awaitClean(EtcdRegistry registry, String podId, long killNs)
      throws InterruptedException {
    while (true) {
      MeshView view = registry.view();
      double seconds = (System.nanoTime() - killNs) / 1e9;
      if (view.pod(podId) == null && view.copiesIn(podId).isEmpty()) {
        return seconds;
      }
      if (seconds > 60) {
        throw new IllegalStateException(podId + " still stands in etcd 60 s after its end");
      }
      TimeUnit.MILLISECONDS.sleep(20);
    }
  }

  private static double p99(SteadyCalls calls, long fromNs, long toNs) {
    return SteadyCalls.percentile(calls.all(c -> c.startedWithin(fromNs, toNs)), 99);
  }

  /** Until the first of two windows of a second in which the 99th percentile is as low as that. */
  private static double secondsUntilBack(SteadyCalls calls, long sinceNs, double mostMillis) {
    for (long fromNs = sinceNs; fromNs < sinceNs + 12 * WINDOW_NS; fromNs += WINDOW_NS / 10) {
      if (p99(calls, fromNs, fromNs + WINDOW_NS) <= mostMillis
          && p99(calls, fromNs + WINDOW_NS, fromNs + 2 * WINDOW_NS) <= mostMillis) {
        return (fromNs - sinceNs) / 1e9;
      }
    }
    return 12;
  }

  /** For models and entries that the death did not touch: five seconds after it, against before. */
  private static double survivorRatio(
      SteadyCalls calls, Map<Integer, String> holders, BenchMesh.Running victim, long killNs) {
    List<SteadyCalls.Done> untouched =
        calls.all(
            c -> c.entryPort() != victim.port() && !victim.id().equals(holders.get(c.model())));
    double before =
        SteadyCalls.percentile(
            untouched.stream()
                .filter(c -> c.startedWithin(killNs - 10 * WINDOW_NS, killNs))
                .toList(),
            50);
    double after =
        SteadyCalls.percentile(
            untouched.stream()
                .filter(c -> c.startedWithin(killNs, killNs + 5 * WINDOW_NS))
                .toList(),
            50);
    return after / before;
  }

  // ---- SIGTERM, one after the other

  private static void replaceAll(
      BenchMesh mesh, SteadyCalls calls, Figures figures, PrintWriter table) throws Exception {
    long beganNs = System.nanoTime();
    for (BenchMesh.Running pod : mesh.pods()) {
      mesh.start();
      long sentNs = System.nanoTime();
      pod.process().terminate();
      // As Kubernetes takes a pod that ends out of its endpoints.
      mesh.forget(pod);
      if (!pod.process().ended(120_000)) {
        throw new IllegalStateException(pod.id() + " still runs 120 s after SIGTERM");
      }
      say(
          table,
          "replaced %s, which ended %.1f s after SIGTERM",
          pod.id(),
          (System.nanoTime() - sentNs) / 1e9);
    }
    TimeUnit.SECONDS.sleep(2);
    long endNs = System.nanoTime();
    List<SteadyCalls.Done> all = calls.all(c -> c.startedWithin(beganNs, endNs));
    List<SteadyCalls.Done> failed = all.stream().filter(SteadyCalls.Done::failed).toList();
    figures
        .add("rollingRestartCalls", all.size())
        .atMost("rollingRestartFailedCalls", failed.size(), 0)
        .add("rollingRestartP99Millis", SteadyCalls.percentile(all, 99))
        .add("rollingRestartMaxMillis", SteadyCalls.percentile(all, 100));
    say(
        table,
        "replaced all pods in %.0f s: %d of %d calls failed %s",
        (endNs - beganNs) / 1e9,
        failed.size(),
        all.size(),
        SteadyCalls.why(failed));
  }

  // ---- etcd away

  private void outage(
      BenchMesh mesh, EtcdProcess etcd, SteadyCalls calls, Figures figures, PrintWriter table)
      throws Exception {
    long beganNs = System.nanoTime();
    etcd.kill();
    TimeUnit.SECONDS.sleep(outageSeconds);
    etcd.restart();
    long backNs = System.nanoTime();
    RegistryConfig config = RegistryConfig.of(etcd.endpoint(), "roll");
    try (EtcdRegistry registry = EtcdRegistry.connect(config)) {
      int loaded = 0;
      while (registry.view().pods().size() != mesh.pods().size() || loaded < models) {
        loaded = 0;
        for (int i = 0; i < models; i++) {
          loaded +=
              (int)
                  registry.view().copies(SteadyCalls.model(i)).stream()
                      .filter(copy -> copy.isLoaded())
                      .limit(1)
                      .count();
        }
        if (System.nanoTime() - backNs > 60 * WINDOW_NS) {
          throw new IllegalStateException(
              "60 s after etcd's return it knows %d pods and %d of %d models as loaded"
                  .formatted(registry.view().pods().size(), loaded, models));
        }
        TimeUnit.MILLISECONDS.sleep(50);
      }
      figures.add("etcdBackSeconds", (System.nanoTime() - backNs) / 1e9);
      TimeUnit.SECONDS.sleep(5);
      calls.stop();
      long copies =
          registry.view().pods().stream()
              .mapToLong(p -> registry.view().copiesIn(p.id()).size())
              .sum();
      figures.atMost("etcdBackCopiesPerModel", copies / (double) models, 1);
    }
    List<SteadyCalls.Done> failed =
        calls.all(c -> c.failed() && c.overlaps(beganNs, Long.MAX_VALUE));
    figures.atMost("etcdOutageFailedCalls", failed.size(), 0);
    say(
        table,
        "etcd was away for %d s: %d calls failed %s",
        outageSeconds,
        failed.size(),
        SteadyCalls.why(failed));
  }
}
