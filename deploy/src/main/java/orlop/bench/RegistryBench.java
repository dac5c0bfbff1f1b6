package orlop.bench;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.IOException;
import java.io.PrintWriter;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Comparator;
import java.util.List;
import java.util.Set;
import java.util.concurrent.ConcurrentLinkedQueue;
import java.util.concurrent.Executors;
import java.util.concurrent.Semaphore;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicLongArray;
import java.util.stream.Stream;
import org.jspecify.annotations.Nullable;
import orlop.placement.Alias;
import orlop.placement.CopyState;
import orlop.placement.Memory;
import orlop.placement.Model;
import orlop.registry.EtcdProcess;
import orlop.registry.EtcdRegistry;
import orlop.registry.PodSession;
import orlop.registry.RegistryConfig;
import orlop.registry.RegistryException;
import picocli.CommandLine.Command;
import picocli.CommandLine.Option;

/** {@code orlop bench registry}: what a large registry costs, in an etcd of its own. */
@Command(
    name = "registry",
    mixinStandardHelpOptions = true,
    description = {
      "Start an etcd, register many models, and measure what the view and the pods cost.",
      "Needs etcd; takes two to four minutes."
    })
final class RegistryBench extends Benchmark {
  private static final String MESH = "bench";
  private static final String COPIES = "orlop/" + MESH + "/copies/writer/";
  private static final int AT_ONCE = 64;
  private static final CopyState LOADED = new CopyState.Loaded(Memory.ram(60_000_000), 40);

  @Option(
      names = "--models",
      defaultValue = "100000",
      description = "Registered. Default: ${DEFAULT-VALUE}.")
  int models = 100_000;

  @Option(
      names = "--loads",
      defaultValue = "500",
      description = "Whose writes are counted. Default: ${DEFAULT-VALUE}.")
  int loads = 500;

  @Option(
      names = "--load-ms",
      defaultValue = "100",
      description = "How long each takes. Default: ${DEFAULT-VALUE}.")
  int loadMs = 100;

  @Option(
      names = "--copies",
      defaultValue = "20000",
      description = "Published by one pod at once. Default: ${DEFAULT-VALUE}.")
  int copies = 20_000;

  @Option(
      names = "--idle-seconds",
      defaultValue = "30",
      description = "For which an idle pod is watched. Default: ${DEFAULT-VALUE}.")
  int idleSeconds = 30;

  @Option(
      names = "--watchers",
      defaultValue = "8",
      description = "Registries that wait for a changed alias. Default: ${DEFAULT-VALUE}.")
  int watchers = 8;

  @Option(
      names = "--changes",
      defaultValue = "300",
      description = "Of an alias. Default: ${DEFAULT-VALUE}.")
  int changes = 300;

  @Override
  Figures measure(PrintWriter table) throws Exception {
    Path data = Files.createTempDirectory("orlop-bench-registry");
    Figures figures = new Figures();
    try (EtcdProcess etcd = EtcdProcess.start(data);
        EtcdGauge gauge = new EtcdGauge(etcd.endpoint())) {
      RegistryConfig config = RegistryConfig.of(etcd.endpoint(), MESH).withTimes(10_000, 60_000);
      try (EtcdRegistry registry = EtcdRegistry.connect(config)) {
        register(registry, table);
        writes(registry, gauge, figures, table);
        manyCopies(registry, etcd, figures, table);
        aliases(registry, config, figures, table);
      }
      // Alone on the machine, so far as it depends on us.
      probe(etcd, figures, table);
    } finally {
      delete(data);
    }
    return figures;
  }

  private static void say(PrintWriter table, String format, Object... args) {
    table.println(format.formatted(args));
    table.flush();
  }

  private static String id(int i) {
    return "tenant-%03d/model-%06d".formatted(i % 500, i);
  }

  private void register(EtcdRegistry registry, PrintWriter table) throws InterruptedException {
    long beganNs = System.nanoTime();
    ConcurrentLinkedQueue<RegistryException> failures = new ConcurrentLinkedQueue<>();
    Semaphore permits = new Semaphore(AT_ONCE);
    try (var threads = Executors.newVirtualThreadPerTaskExecutor()) {
      for (int i = 0; i < models; i++) {
        int number = i;
        permits.acquire();
        threads.execute(
            () -> {
              try {
                registry.createModel(model(number));
              } catch (RegistryException e) {
                failures.add(e);
              } finally {
                permits.release();
              }
            });
      }
    }
    if (!failures.isEmpty()) {
      throw new IllegalStateException(
          failures.size() + " of " + models + " models were not registered", failures.peek());
    }
    say(table, "registered %d models in %.1f s", models, (System.nanoTime() - beganNs) / 1e9);
  }

  private static Model model(int i) {
    return Model.of(
        id(i),
        i % 2 == 0 ? "onnx" : "xgboost",
        "models/tenant-%03d/v%d/model-%06d".formatted(i % 500, i % 7, i),
        "store-" + i % 500,
        1_700_000_000_000L + i);
  }

  /** What etcd counts when models are loaded and unloaded, each as the pods do it. */
  private void writes(EtcdRegistry registry, EtcdGauge gauge, Figures figures, PrintWriter table)
      throws Exception {
    try (PodSession session = registry.join(RegistryProbe.pod("writer"))) {
      session.flush(30_000);
      long before = gauge.revision();
      each(loads, i -> load(session, i, loadMs));
      settle(session);
      long loaded = gauge.revision();
      EtcdGauge.Pair pair = gauge.find(COPIES, "model-");
      each(loads, i -> unload(session, i));
      settle(session);
      long unloaded = gauge.revision();
      int slow = Math.min(loads, 100);
      each(slow, i -> load(session, i, 1_000));
      settle(session);
      long slowLoaded = gauge.revision();
      figures
          .atMost("putsPerLoad", (loaded - before) / (double) loads, 1)
          .atMost("deletesPerUnload", (unloaded - loaded) / (double) loads, 1)
          .add("putsPerLoadOfOneSecond", (slowLoaded - unloaded) / (double) slow)
          .add("putBytes", pair.bytes());
      say(table, "counted the writes of %d loads; a key looks like %s", loads, pair.key());
    }
  }

  private interface Step {
    void take(int i) throws InterruptedException;
  }

  /** Forty at a time. */
  private static void each(int count, Step step) throws InterruptedException {
    Semaphore permits = new Semaphore(40);
    try (var threads = Executors.newVirtualThreadPerTaskExecutor()) {
      for (int i = 0; i < count; i++) {
        int number = i;
        permits.acquire();
        threads.execute(
            () -> {
              try {
                step.take(number);
              } catch (InterruptedException e) {
                Thread.currentThread().interrupt();
              } finally {
                permits.release();
              }
            });
      }
    }
  }

  private static void load(PodSession session, int i, int takesMs) throws InterruptedException {
    session.publish(id(i), new CopyState.Loading(), System.currentTimeMillis());
    TimeUnit.MILLISECONDS.sleep(takesMs);
    session.publish(id(i), LOADED, System.currentTimeMillis());
  }

  private static void unload(PodSession session, int i) throws InterruptedException {
    session.publish(id(i), new CopyState.Unloading(), System.currentTimeMillis());
    TimeUnit.MILLISECONDS.sleep(20);
    session.withdraw(id(i));
  }

  private static void settle(PodSession session) throws InterruptedException {
    if (!session.flush(60_000)) {
      throw new IllegalStateException("etcd did not take all writes within 60 s");
    }
  }

  private void manyCopies(
      EtcdRegistry registry, EtcdProcess etcd, Figures figures, PrintWriter table)
      throws Exception {
    try (PodSession session = registry.join(RegistryProbe.pod("large"))) {
      session.flush(30_000);
      Duration cpuBefore = cpu(etcd);
      long beganNs = System.nanoTime();
      for (int i = 0; i < copies; i++) {
        session.publish(id(i), LOADED, i);
      }
      if (!session.flush(600_000)) {
        throw new IllegalStateException(copies + " copies were not stored within 600 s");
      }
      double seconds = (System.nanoTime() - beganNs) / 1e9;
      double micros = cpu(etcd).minus(cpuBefore).toNanos() / 1e3 / copies;
      figures.add("copiesPerSecond", copies / seconds).add("etcdCpuMicrosPerPut", micros);
      say(table, "one pod published %d copies in %.1f s", copies, seconds);
    }
  }

  private static Duration cpu(EtcdProcess etcd) {
    return ProcessHandle.of(etcd.pid())
        .flatMap(process -> process.info().totalCpuDuration())
        .orElse(Duration.ZERO);
  }

  /** From the call that changes an alias to the moment at which the last of all views has it. */
  private void aliases(
      EtcdRegistry registry, RegistryConfig config, Figures figures, PrintWriter table)
      throws Exception {
    AtomicLongArray seen = new AtomicLongArray(watchers);
    List<EtcdRegistry> all = new ArrayList<>();
    try {
      for (int i = 0; i < watchers; i++) {
        EtcdRegistry watcher = EtcdRegistry.connect(config);
        all.add(watcher);
        int number = i;
        watcher.listen(
            view -> {
              Alias alias = view.alias("current");
              if (alias != null) {
                seen.set(number, Long.parseLong(alias.activeModelId()));
              }
            });
      }
      double[] tookMs = new double[changes];
      Alias now = null;
      for (int change = 0; change < changes; change++) {
        Alias next = new Alias("current", "", "" + (change + 1), "" + (change + 1), Set.of(), "");
        long beganNs = System.nanoTime();
        change(registry, now, next);
        await(seen, change + 1, beganNs);
        tookMs[change] = (System.nanoTime() - beganNs) / 1e6;
        now = next;
      }
      Arrays.sort(tookMs);
      figures
          .add("aliasVisibleMedianMillis", tookMs[changes / 2])
          .atMost("aliasVisibleMillis", tookMs[(int) (changes * 0.99)], 1_000);
      say(table, "changed an alias %d times before %d registries", changes, watchers);
    } finally {
      all.forEach(EtcdRegistry::close);
    }
  }

  private static void change(EtcdRegistry registry, @Nullable Alias now, Alias next)
      throws RegistryException {
    if (!registry.compareAndSetAlias("current", now, next)) {
      throw new IllegalStateException("somebody else changed the alias " + next.name());
    }
  }

  private void await(AtomicLongArray seen, long value, long beganNs) throws InterruptedException {
    for (int i = 0; i < watchers; i++) {
      while (seen.get(i) < value) {
        if (System.nanoTime() - beganNs > 60_000_000_000L) {
          throw new IllegalStateException("watcher " + i + " did not see change " + value);
        }
        TimeUnit.MICROSECONDS.sleep(100);
      }
    }
  }

  /** Asks a fresh process. */
  private void probe(EtcdProcess etcd, Figures figures, PrintWriter table) throws Exception {
    Path java = Path.of(System.getProperty("java.home"), "bin", "java");
    ProcessBuilder command =
        new ProcessBuilder(
            java.toString(),
            "-XX:+UseSerialGC",
            "--enable-native-access=ALL-UNNAMED",
            "--sun-misc-unsafe-memory-access=allow",
            RegistryProbe.class.getName(),
            etcd.endpoint(),
            MESH,
            String.valueOf(idleSeconds));
    command.environment().put("CLASSPATH", System.getProperty("java.class.path"));
    command.redirectError(ProcessBuilder.Redirect.INHERIT);
    Process process = command.start();
    String said = new String(process.getInputStream().readAllBytes(), StandardCharsets.UTF_8);
    int status = process.waitFor();
    if (status != 0) {
      throw new IOException("the fresh process ended with status " + status);
    }
    JsonNode answer = new ObjectMapper().readTree(said.lines().toList().getLast());
    if (answer.path("models").asInt() != models) {
      throw new IllegalStateException("the fresh process saw only " + answer);
    }
    figures
        .add("models", models)
        .atMost("viewSeconds", answer.path("viewSeconds").asDouble(), 10)
        .atMost("heapBytesPerModel", answer.path("heapBytesPerModel").asDouble(), 400)
        .atMost("idleCpuPercentOfCore", answer.path("idleCpuPercentOfCore").asDouble(), 1);
    say(table, "a fresh process built the view and was idle for %d s", idleSeconds);
  }

  private static void delete(Path directory) throws IOException {
    try (Stream<Path> files = Files.walk(directory)) {
      for (Path file : files.sorted(Comparator.reverseOrder()).toList()) {
        Files.deleteIfExists(file);
      }
    }
  }
}
