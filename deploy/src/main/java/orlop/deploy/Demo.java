package orlop.deploy;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import io.grpc.StatusRuntimeException;
import java.io.IOException;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Random;
import java.util.Set;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;
import java.util.concurrent.atomic.AtomicBoolean;
import java.util.random.RandomGenerator;
import mmesh.ModelInfo;
import mmesh.RegisterModelRequest;
import orlop.bridge.BridgeServer;
import orlop.drift.DriftServer;
import orlop.registry.RegistryException;

/**
 * The main job, told in steps: a mesh whose memory holds half of its models serves all of them over
 * gRPC and Kafka, survives the death of a pod and reports a drifting feature. Runs on one thread;
 * every wait has a bound and every claim a check.
 */
final class Demo {
  private static final int PODS = 3;
  private static final int WORKERS = 16;
  private static final int KAFKA_RECORDS = 5_000;
  private static final int BASELINE_ROWS = 1_000;
  private static final int STEADY_ROWS = 500;
  private static final int SHIFTED_ROWS_MAX = 2_000;
  private static final double SHIFT_SD = 1.5;
  private static final long STATUS_AGE_MS = 2_000;
  private static final String DRIFTING_DATASET = "breast_cancer";
  private static final String PAYLOADS = Settings.defaults().text("drift.payloadTopic");
  private static final String VERDICTS = Settings.defaults().text("drift.verdictTopic");
  private static final double RECOVERY_BOUND_S = 15;

  private final DemoReport report;
  private final Teardown teardown;
  private final Path dir;
  private final Map<String, DemoData.Dataset> data;
  private final List<DemoModel> models;
  private final int calls;

  Demo(
      DemoReport report,
      Teardown teardown,
      Path dir,
      Map<String, DemoData.Dataset> data,
      List<DemoModel> models,
      int calls) {
    this.report = report;
    this.calls = calls;
    this.teardown = teardown;
    this.dir = dir;
    this.data = data;
    List<DemoModel> shuffled = new ArrayList<>(models);
    // Otherwise the popular models would all come from one dataset.
    Collections.shuffle(shuffled, new Random(7));
    this.models = List.copyOf(shuffled);
  }

  /** Runs the story and leaves the mesh running. */
  DemoMesh run(boolean withEtcd) throws IOException, RegistryException {
    report.figure("models", models.size());
    DemoMesh mesh = start(withEtcd);
    DemoKafka kafka = new DemoKafka(mesh.bootstrap());
    kafka.createTopics(
        DemoKafka.INPUT, DemoKafka.OUTPUT, DemoKafka.DEAD_LETTERS, PAYLOADS, VERDICTS);
    BridgeServer bridge = mesh.startBridge();
    DriftServer drift = mesh.startDrift(BASELINE_ROWS);
    mesh.inventory().forEach(report::say);
    try (DemoClient client = new DemoClient(mesh.addresses())) {
      serve(mesh, client);
      score(kafka, bridge);
      loseAPod(mesh, client);
      drift(kafka, client, drift);
    }
    return mesh;
  }

  private DemoMesh start(boolean withEtcd) throws IOException, RegistryException {
    report.step(
        1, "Start: etcd, Kafka, S3, " + PODS + " pods, controller, bridge, drift detection");
    DemoMesh mesh = DemoMesh.start(teardown, dir, withEtcd);
    mesh.upload(models);
    long needed = DemoMesh.memoryBytes(models);
    long capacityBytes = needed / 2 / PODS;
    for (int i = 0; i < PODS; i++) {
      mesh.addPod(capacityBytes);
    }
    report.say(
        "%d models need %.1f MB of memory; the %d pods have %.1f MB together",
        models.size(), needed / 1e6, PODS, PODS * capacityBytes / 1e6);
    return mesh;
  }

  private void serve(DemoMesh mesh, DemoClient client) throws IOException {
    report.step(
        2, "Serve: register all models, then Zipf-distributed V2 gRPC calls through all pods");
    long begin = System.nanoTime();
    try (MeshClient management = new MeshClient(mesh.addresses().getFirst(), 60)) {
      for (DemoModel model : models) {
        var unused =
            management
                .management()
                .registerModel(
                    RegisterModelRequest.newBuilder()
                        .setModelId(model.id())
                        .setModelInfo(
                            ModelInfo.newBuilder()
                                .setType("onnx")
                                .setPath("s3://" + DemoMesh.BUCKET + "/" + model.id()))
                        .build());
      }
    }
    report.say("registered %d models from S3 in %.1f s", models.size(), secondsSince(begin));
    accuracy(client);
    begin = System.nanoTime();
    Map<String, Double> before = mesh.metrics();
    DemoTraffic.Result result = traffic(client).run(calls, WORKERS, 1, () -> false);
    Map<String, Double> after = mesh.metrics();
    double hits = grown(before, after, "orlop_local_hits_total");
    double hops = grown(before, after, "orlop_hops_total");
    double loads = after.getOrDefault("modelmesh_loadmodel_milliseconds_count", 0.0);
    double evictions = after.getOrDefault("modelmesh_model_evicted_total", 0.0);
    report.say(
        "%d calls in %.1f s from %d clients: %.0f calls/s, p50 %s, p99 %s",
        result.calls(),
        secondsSince(begin),
        WORKERS,
        result.calls() / secondsSince(begin),
        DemoReport.ms(result.quantileMs(0.5)),
        DemoReport.ms(result.quantileMs(0.99)));
    report.say(
        "%.0f served where they arrived, %.0f took one hop; so far %.0f loads, %.0f evictions",
        hits, hops, loads, evictions);
    result.errors().forEach(error -> report.say("error: %s", error));
    report.check(
        result.failed() == 0 && result.wrong() == 0,
        "every one of %d calls answered as its trainer predicts (%d failed, %d differ)",
        result.calls(),
        result.failed(),
        result.wrong());
    report.figure("p50Ms", result.quantileMs(0.5));
    report.figure("p99Ms", result.quantileMs(0.99));
    report.figure("hopShare", hits + hops == 0 ? 0.0 : hops / (hits + hops));
    report.figure("loads", (long) loads);
    report.figure("evictions", (long) evictions);
    report.check(evictions > 0, "models took turns in memory (%.0f evictions)", evictions);
  }

  /** Every held-out row through every model, and what the trainers got for the same. */
  private void accuracy(DemoClient client) {
    double worst = 0;
    double sum = 0;
    long rows = 0;
    for (DemoModel model : models) {
      int[] labels = client.predict(model, inputs(model));
      int right = 0;
      for (int i = 0; i < labels.length; i++) {
        right += labels[i] == model.heldOutTruth()[i] ? 1 : 0;
      }
      double accuracy = (double) right / labels.length;
      worst = Math.max(worst, Math.abs(accuracy - model.accuracy()));
      sum += accuracy;
      rows += labels.length;
    }
    report.figure("accuracyDelta", worst);
    report.check(
        worst == 0,
        "accuracy on %d held-out predictions: %.4f on average, equal to the trainer's for each model",
        rows,
        sum / models.size());
  }

  private void score(DemoKafka kafka, BridgeServer bridge) {
    report.step(3, "Score: held-out rows through Kafka, every record names its model");
    List<DemoKafka.Job> jobs = jobs();
    kafka.send(jobs);
    long begin = System.nanoTime();
    long[] told = {0};
    DemoKafka.Audit audit =
        kafka.audit(
            jobs,
            Duration.ofSeconds(120),
            results -> {
              if (results >= told[0] + KAFKA_RECORDS / 4) {
                told[0] = results - results % (KAFKA_RECORDS / 4);
                report.say("%d of %d scored, %.1f s", results, jobs.size(), secondsSince(begin));
              }
            });
    report.figure("kafkaIn", jobs.size());
    report.figure("kafkaOut", audit.results());
    report.figure("kafkaDuplicates", audit.duplicates());
    report.figure("kafkaDeadLetters", audit.deadLetters());
    report.check(
        audit.missing() == 0
            && audit.duplicates() == 0
            && audit.wrong() == 0
            && audit.deadLetters() == 0,
        "each of %d records has exactly one result (%d missing, %d duplicates, %d differ from the trainer, %d dead letters; bridge %s)",
        jobs.size(),
        audit.missing(),
        audit.duplicates(),
        audit.wrong(),
        audit.deadLetters(),
        bridge.status().state());
  }

  private List<DemoKafka.Job> jobs() {
    List<DemoKafka.Job> jobs = new ArrayList<>();
    RandomGenerator random = DemoData.random(3);
    for (int i = 0; jobs.size() < KAFKA_RECORDS; i++) {
      DemoModel model = models.get(random.nextInt(models.size()));
      float[][] rows = dataset(model).heldOut().rows();
      int row = random.nextInt(rows.length);
      jobs.add(
          new DemoKafka.Job(
              "row-" + i, model, model.inputOf(rows[row]), model.heldOutPredicted()[row]));
    }
    return jobs;
  }

  private void loseAPod(DemoMesh mesh, DemoClient client) throws IOException, RegistryException {
    report.step(4, "Lose a pod: kill -9 under load");
    if (mesh.inOneProcess()) {
      report.say("not run: without etcd the pods live in this process; install etcd-server for it");
      report.figure("killFailedCalls", "not run");
      report.figure("killRecoverySeconds", "not run");
      return;
    }
    String victim = mesh.pods().keySet().stream().sorted().toList().get(1);
    String address = Objects.requireNonNull(mesh.pods().get(victim)).grpc();
    Set<String> lost = mesh.heldBy(victim);
    AtomicBoolean stop = new AtomicBoolean();
    long retriedBefore = client.retried();
    CompletableFuture<DemoTraffic.Result> load =
        CompletableFuture.supplyAsync(
            () -> traffic(client).run(Integer.MAX_VALUE, WORKERS / 2, 2, stop::get));
    pause(1_000);
    mesh.kill(victim);
    long killNs = System.nanoTime();
    double recovery = recover(client, lost, killNs);
    pause(1_000);
    stop.set(true);
    DemoTraffic.Result result = joined(load);
    report.say(
        "%s died with %d models; all of them served again after %.1f s; %d calls ran meanwhile, %d were made again elsewhere by their client",
        victim, lost.size(), recovery, result.calls(), client.retried() - retriedBefore);
    result.errors().forEach(error -> report.say("error: %s", error));
    report.figure("killFailedCalls", result.failed());
    report.figure("killRecoverySeconds", recovery);
    report.check(
        recovery <= RECOVERY_BOUND_S && result.wrong() == 0,
        "recovered within %.0f s, %d calls failed, %d answers differ",
        RECOVERY_BOUND_S,
        result.failed(),
        result.wrong());
    PodProcess.Announcement fresh = mesh.addPod(capacityLike(mesh));
    client.replace(address, fresh.grpc());
    report.say("%s takes its place", fresh.id());
  }

  /** Seconds from the kill until each of the models has answered. */
  private double recover(DemoClient client, Set<String> lost, long killNs) {
    List<DemoModel> left =
        new ArrayList<>(models.stream().filter(m -> lost.contains(m.id())).toList());
    long deadlineNs = killNs + Duration.ofSeconds(60).toNanos();
    while (!left.isEmpty() && System.nanoTime() < deadlineNs) {
      left.removeIf(
          model -> {
            try {
              var unused = client.predict(model, Arrays.copyOf(inputs(model), 1));
              return true;
            } catch (StatusRuntimeException e) {
              return false;
            }
          });
    }
    return secondsSince(killNs);
  }

  private void drift(DemoKafka kafka, DemoClient client, DriftServer drift) throws IOException {
    report.step(5, "Drift: shift one feature of one model's traffic");
    DemoModel model =
        models.stream().filter(m -> m.dataset().equals(DRIFTING_DATASET)).findFirst().orElseThrow();
    int column = model.features() / 2;
    String feature = dataset(model).features().get(model.columns()[column]);
    RandomGenerator random = DemoData.random(5);
    for (int i = 0; i < BASELINE_ROWS + STEADY_ROWS; i++) {
      var unused = client.infer(DemoClient.request(model, new float[][] {draw(model, random)}));
    }
    settle(drift);
    long before = rowsWatched(drift, model.id(), column);
    report.say(
        "%s: baseline of %d records and %d more without a shift",
        model.id(), BASELINE_ROWS, before);
    float shift = (float) (SHIFT_SD * standardDeviation(inputs(model), column));
    Verdicts verdicts = new Verdicts(kafka);
    int sent = 0;
    while (sent < SHIFTED_ROWS_MAX && verdicts.of(model.id(), column).isEmpty()) {
      for (int i = 0; i < 50; i++) {
        float[] row = draw(model, random);
        row[column] += shift;
        var unused = client.infer(DemoClient.request(model, new float[][] {row}));
        sent++;
      }
      settle(drift);
    }
    List<JsonNode> right = verdicts.of(model.id(), column);
    int others = verdicts.all().size() - right.size();
    long delay =
        right.isEmpty() ? -1 : right.getFirst().path("recordsSinceBaseline").asLong() - before;
    report.figure("driftDelayRecords", delay);
    report.figure("driftFalseAlarms", others);
    if (!right.isEmpty()) {
      report.say("verdict: %s", right.getFirst());
    }
    report.check(
        !right.isEmpty() && others == 0,
        "'%s' of %s shifted by %.1f sd: reported after %d records, %d other verdicts",
        feature,
        model.id(),
        SHIFT_SD,
        delay,
        others);
  }

  /** Records of the feature that were watched since its baseline, once the status is up to date. */
  private static long rowsWatched(DriftServer drift, String modelId, int column)
      throws IOException {
    pause(STATUS_AGE_MS);
    for (JsonNode model : new ObjectMapper().readTree(drift.statusJson()).path("models")) {
      for (JsonNode feature : model.path("features")) {
        if (model.path("model").asText().equals(modelId)
            && feature.path("index").asInt() == column) {
          return feature.path("rows").asLong();
        }
      }
    }
    return 0;
  }

  /** Verdicts so far, read from their topic. */
  private record Verdicts(DemoKafka kafka) {
    List<JsonNode> all() {
      ObjectMapper mapper = new ObjectMapper();
      return kafka.readAll(VERDICTS).stream()
          .map(
              record -> {
                try {
                  return mapper.readTree(record.value());
                } catch (IOException e) {
                  throw new IllegalStateException("verdict is not JSON", e);
                }
              })
          .toList();
    }

    List<JsonNode> of(String modelId, int column) {
      return all().stream()
          .filter(v -> v.path("model").asText().equals(modelId))
          .filter(v -> v.path("feature").path("index").asInt(-1) == column)
          .toList();
    }
  }

  /** Waits until drift detection has read what was logged: its count stands still for a second. */
  private void settle(DriftServer drift) {
    long deadlineNs = System.nanoTime() + Duration.ofSeconds(60).toNanos();
    long last = -1;
    long sinceNs = System.nanoTime();
    while (System.nanoTime() < deadlineNs
        && System.nanoTime() - sinceNs < Duration.ofMillis(700).toNanos()) {
      long now = drift.recordsSeen();
      if (now != last) {
        last = now;
        sinceNs = System.nanoTime();
      }
      pause(50);
    }
  }

  private DemoData.Dataset dataset(DemoModel model) {
    return Objects.requireNonNull(data.get(model.dataset()), model.dataset());
  }

  private float[] draw(DemoModel model, RandomGenerator random) {
    float[][] rows = dataset(model).heldOut().rows();
    return model.inputOf(rows[random.nextInt(rows.length)]);
  }

  private float[][] inputs(DemoModel model) {
    float[][] rows = dataset(model).heldOut().rows();
    return Arrays.stream(rows).map(model::inputOf).toArray(float[][]::new);
  }

  private DemoTraffic traffic(DemoClient client) {
    Map<String, float[][]> rows = new HashMap<>();
    data.forEach((name, dataset) -> rows.put(name, dataset.heldOut().rows()));
    return new DemoTraffic(client, models, rows);
  }

  private static long capacityLike(DemoMesh mesh) {
    return mesh.view().pods().iterator().next().capacity().ramBytes();
  }

  private static double standardDeviation(float[][] rows, int column) {
    double mean = Arrays.stream(rows).mapToDouble(row -> row[column]).average().orElse(0);
    double sum = Arrays.stream(rows).mapToDouble(r -> Math.pow(r[column] - mean, 2)).sum();
    return Math.sqrt(sum / rows.length);
  }

  private static double grown(Map<String, Double> before, Map<String, Double> after, String name) {
    return after.getOrDefault(name, 0.0) - before.getOrDefault(name, 0.0);
  }

  private static double secondsSince(long ns) {
    return (System.nanoTime() - ns) / 1e9;
  }

  private static DemoTraffic.Result joined(CompletableFuture<DemoTraffic.Result> load) {
    try {
      return load.get(60, TimeUnit.SECONDS);
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
      throw new IllegalStateException("interrupted", e);
    } catch (ExecutionException | TimeoutException e) {
      throw new IllegalStateException("the load did not end", e);
    }
  }

  private static void pause(long ms) {
    try {
      Thread.sleep(ms);
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
    }
  }
}
