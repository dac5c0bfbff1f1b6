package orlop.pod;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import inference.GRPCInferenceServiceGrpc;
import io.grpc.Status;
import java.io.ByteArrayOutputStream;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.nio.charset.StandardCharsets;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeMap;
import java.util.TreeSet;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.Test;
import orlop.placement.Alias;
import orlop.placement.MeshView;
import orlop.placement.Model;

/** ModelMesh's metrics under their names, and labels for models within a bound. */
class MetricsTest {
  /** What ModelMesh shows to Prometheus, and as what. */
  private static final Map<String, String> MODELMESH =
      new TreeMap<>(
          Map.ofEntries(
              Map.entry("modelmesh_invoke_model_milliseconds", "histogram"),
              Map.entry("modelmesh_api_request_milliseconds", "histogram"),
              Map.entry("modelmesh_request_size_bytes", "histogram"),
              Map.entry("modelmesh_response_size_bytes", "histogram"),
              Map.entry("modelmesh_cache_miss_milliseconds", "histogram"),
              Map.entry("modelmesh_loadmodel_milliseconds", "histogram"),
              Map.entry("modelmesh_unloadmodel_milliseconds", "histogram"),
              Map.entry("modelmesh_req_queue_delay_milliseconds", "histogram"),
              Map.entry("modelmesh_loading_queue_delay_milliseconds", "histogram"),
              Map.entry("modelmesh_model_sizing_milliseconds", "histogram"),
              Map.entry("modelmesh_age_at_eviction_milliseconds", "histogram"),
              Map.entry("modelmesh_loaded_model_size_bytes", "histogram"),
              Map.entry("modelmesh_loadmodel_failure", ""),
              Map.entry("modelmesh_unloadmodel_failure", ""),
              Map.entry("modelmesh_unloadmodel_attempt_failure", ""),
              Map.entry("modelmesh_models_loaded_total", ""),
              Map.entry("modelmesh_models_with_failure_total", ""),
              Map.entry("modelmesh_models_managed_total", ""),
              Map.entry("modelmesh_instance_lru_seconds", ""),
              Map.entry("modelmesh_instance_lru_age_seconds", ""),
              Map.entry("modelmesh_instance_capacity_bytes", ""),
              Map.entry("modelmesh_instance_used_bytes", ""),
              Map.entry("modelmesh_instance_used_bps", ""),
              Map.entry("modelmesh_instance_models_total", "")));

  private static String scrape(ServingPod pod) throws Exception {
    try (HttpClient http = HttpClient.newHttpClient()) {
      return http.send(
              HttpRequest.newBuilder(
                      URI.create("http://127.0.0.1:" + pod.metricsPort() + "/metrics"))
                  .build(),
              HttpResponse.BodyHandlers.ofString())
          .body();
    }
  }

  @Test
  void aCallThatEndsInLineBeforeItsRuntimeHasNoRunTime() throws Exception {
    try (TestMesh mesh = new TestMesh(1);
        FakeSidecar sidecar = new FakeSidecar()) {
      FakeRuntime runtime = mesh.runtimes.getFirst();
      runtime.sidecar = sidecar.address();
      runtime.atOnce = 1;
      runtime.inLine = 1;
      sidecar.silent = true;
      mesh.register("m");
      var running =
          GRPCInferenceServiceGrpc.newFutureStub(mesh.channel(mesh.pod(0)))
              .modelInfer(TestMesh.request("m"));
      TestMesh.await("the call at the runtime", () -> sidecar.calls.get() == 1);
      Status late =
          TestMesh.failure(
              () ->
                  mesh.client(mesh.pod(0))
                      .withDeadlineAfter(300, TimeUnit.MILLISECONDS)
                      .modelInfer(TestMesh.request("m")));
      assertEquals(Status.Code.DEADLINE_EXCEEDED, late.getCode());
      TestMesh.await("its end", () -> mesh.pod(0).inFlight() == 1);
      assertEquals(1, sidecar.calls.get(), "the other call stood in line");
      double runs =
          scrape(mesh.pod(0))
              .lines()
              .filter(line -> line.startsWith("modelmesh_invoke_model_milliseconds_count"))
              .mapToDouble(line -> Double.parseDouble(line.substring(line.lastIndexOf(' '))))
              .sum();
      assertEquals(0, runs);
      running.cancel(true);
    }
  }

  @Test
  void everyMetricOfModelMeshHasASampleUnderItsName() throws Exception {
    try (TestMesh mesh = new TestMesh(1)) {
      ServingPod pod = mesh.pod(0);
      pod.showMesh(() -> true);
      mesh.register("m");
      mesh.client(pod).modelInfer(TestMesh.request("m"));
      String text = scrape(pod);
      Set<String> samples = new TreeSet<>();
      text.lines()
          .filter(line -> !line.startsWith("#"))
          .forEach(line -> samples.add(line.split("[{ ]", 2)[0]));
      MODELMESH.forEach(
          (name, kind) -> {
            List<String> endings =
                kind.equals("histogram") ? List.of("_bucket", "_sum", "_count") : List.of("");
            for (String ending : endings) {
              assertTrue(samples.contains(name + ending), name + ending + " is missing\n" + text);
            }
          });
      for (String sample :
          List.of(
              "modelmesh_invoke_model_milliseconds_count{method=\"ModelInfer\",code=\"OK\"} 1\n",
              "modelmesh_request_size_bytes_count{method=\"ModelInfer\",code=\"OK\"} 1\n",
              "modelmesh_response_size_bytes_count{method=\"ModelInfer\",code=\"OK\"} 1\n",
              "modelmesh_cache_miss_milliseconds_count 1\n",
              "modelmesh_req_queue_delay_milliseconds_count 1\n",
              "modelmesh_loading_queue_delay_milliseconds_count 1\n",
              "modelmesh_models_managed_total 1\n",
              "modelmesh_models_loaded_total 1\n",
              "modelmesh_models_with_failure_total 0\n",
              "modelmesh_instance_used_bps 10\n")) {
        assertTrue(text.contains(sample), sample + " is missing in\n" + text);
      }
      assertFalse(text.contains("modelId="), text);
      assertTrue(number(text, "modelmesh_instance_lru_age_seconds") < 60, text);
      assertTrue(number(text, "modelmesh_instance_lru_seconds") > 1_600_000_000, text);
      assertTrue(
          number(text, "modelmesh_request_size_bytes_sum{method=\"ModelInfer\",code=\"OK\"}")
              >= TestMesh.request("m").getSerializedSize(),
          text);
    }
  }

  private static double number(String text, String sample) {
    return text.lines()
        .filter(line -> line.startsWith(sample + " "))
        .mapToDouble(line -> Double.parseDouble(line.substring(sample.length() + 1)))
        .findFirst()
        .orElseThrow(() -> new AssertionError(sample + " is missing in\n" + text));
  }

  @Test
  void whatABucketCountsIsAtMostItsBound() {
    Distribution times = new Distribution(Distribution.Scale.TIME);
    times.add(100_000); // Exactly 0.1 ms.
    times.add(100_001);
    times.add(Long.MAX_VALUE / 4);
    MetricsText text = new MetricsText();
    times.write(text, "t", "help");
    String out = new String(text.bytes(), StandardCharsets.UTF_8);
    assertTrue(out.contains("t_bucket{le=\"0.1\"} 1\n"), out);
    assertTrue(out.contains("t_bucket{le=\"0.25\"} 2\n"), out);
    assertTrue(out.contains("t_bucket{le=\"300000\"} 2\n"), out);
    assertTrue(out.contains("t_bucket{le=\"+Inf\"} 3\n"), out);
    assertTrue(out.contains("t_count 3\n"), out);
  }

  private static Named named(String model) {
    MeshView view =
        MeshView.empty()
            .with(
                List.of(
                    new orlop.placement.Delta.ModelPut(Model.of(model, "t", "p", "", 1)),
                    new orlop.placement.Delta.AliasPut(
                        new Alias("alias of \"" + model + "\"", "", model, model, Set.of(), ""))),
                1);
    return java.util.Objects.requireNonNull(
        Named.Asked.in(RequestHeaders.of(new io.grpc.Metadata()))
            .resolve(view, "alias of \"" + model + "\"", false));
  }

  @Test
  void labelsForModelsAreBoundedAndNothingIsLost() throws Exception {
    Metrics metrics = new Metrics(new MetricsConfig(true, false, 2, true, "x", Map.of()));
    for (int model = 0; model < 100; model++) {
      for (int call = 0; call <= (model == 7 ? 50 : model == 3 ? 40 : 1); call++) {
        metrics.called(named("m" + model), Op.INFER, Status.Code.OK, 1_000, 10, 10);
      }
    }
    metrics.called(null, Op.INFER, Status.Code.NOT_FOUND, 1_000, 10, -1);
    Map<String, Double> counts = counts(metrics);
    assertEquals(Set.of("_other", "m3", "m7"), counts.keySet());
    assertEquals(51 + 41 + 98 * 2 + 1, counts.values().stream().mapToDouble(n -> n).sum());
    assertEquals(51, counts.get("m7"));
    // The others of a moment ago are today's most called.
    for (int call = 0; call < 200; call++) {
      metrics.called(named("m9"), Op.INFER, Status.Code.OK, 1_000, 10, 10);
    }
    counts = counts(metrics);
    assertTrue(counts.containsKey("m9") && counts.size() == 3, counts.toString());
    assertEquals(51 + 41 + 98 * 2 + 1 + 200, counts.values().stream().mapToDouble(n -> n).sum());
  }

  private static Map<String, Double> counts(Metrics metrics) throws Exception {
    ByteArrayOutputStream out = new ByteArrayOutputStream();
    metrics.write(out);
    Map<String, Double> counts = new TreeMap<>();
    String text = out.toString(StandardCharsets.UTF_8);
    text.lines()
        .filter(line -> line.startsWith("modelmesh_api_request_milliseconds_count"))
        .forEach(
            line -> {
              assertTrue(line.contains("method=\"inference.GRPCInferenceService/ModelInfer\""));
              String id = line.replaceFirst(".*modelId=\"([^\"]*)\".*", "$1");
              counts.merge(
                  id, Double.parseDouble(line.substring(line.lastIndexOf(' '))), Double::sum);
            });
    assertTrue(text.contains("vModelId=\"alias of \\\"m7\\\"\""), text);
    return counts;
  }

  private static double all(String one, String other, String name) {
    return (one + other)
        .lines()
        .filter(line -> line.startsWith(name + "{"))
        .mapToDouble(line -> Double.parseDouble(line.substring(line.lastIndexOf(' '))))
        .sum();
  }

  @Test
  void aPodShowsHopsAndWaitsOfItsModels() throws Exception {
    MetricsConfig byModel =
        new MetricsConfig(true, false, 10, false, "about", Map.of("team", "fraud \"x\""));
    try (TestMesh mesh = new TestMesh(2, builder -> builder.metrics(byModel))) {
      mesh.register("m");
      mesh.alias("a", "m");
      mesh.client(mesh.pod(0)).modelInfer(TestMesh.request("a"));
      int holder = mesh.holder("m");
      mesh.client(mesh.pod(1 - holder)).modelInfer(TestMesh.request("m"));
      String there = scrape(mesh.pod(1 - holder));
      assertTrue(there.contains("orlop_model_hops_total{modelId=\"m\",vModelId=\"\"} 1\n"), there);
      String here = scrape(mesh.pod(holder));
      // A forwarded call counts where it came in, its run where it ran.
      assertEquals(2, all(here, there, "modelmesh_api_request_milliseconds_count"));
      assertEquals(2, all(here, "", "modelmesh_invoke_model_milliseconds_count"));
      assertEquals(
          1,
          here.lines()
              .filter(
                  line ->
                      line.startsWith("orlop_model_cold_waits_total{modelId=\"m\"")
                          && line.endsWith(" 1"))
              .count(),
          here);
      assertTrue(here.contains("orlop_model_queue_milliseconds_count{modelId=\"m\"} 2\n"), here);
      assertTrue(here.contains("orlop_model_batch_size_sum{modelId=\"m\"} 2\n"), here);
      assertTrue(here.contains("about{team=\"fraud \\\"x\\\"\"} 1\n"), here);
    }
  }
}
