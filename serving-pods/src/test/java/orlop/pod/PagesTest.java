package orlop.pod;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.net.ServerSocket;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.util.List;
import java.util.Map;
import java.util.Set;
import org.junit.jupiter.api.Test;
import orlop.payload.PayloadLog;
import orlop.placement.Memory;
import orlop.registry.LocalRegistry;

/** Probes, metrics, and what is said when a pod cannot start. */
class PagesTest {

  private static HttpResponse<String> get(int port, String path) throws Exception {
    try (HttpClient http = HttpClient.newHttpClient()) {
      return http.send(
          HttpRequest.newBuilder(URI.create("http://127.0.0.1:" + port + path)).build(),
          HttpResponse.BodyHandlers.ofString());
    }
  }

  @Test
  void probesFollowThePod() throws Exception {
    try (TestMesh mesh = new TestMesh(1)) {
      ServingPod pod = mesh.pod(0);
      assertEquals(200, get(pod.probePort(), "/live").statusCode());
      assertEquals(200, get(pod.probePort(), "/ready").statusCode());
      pod.drain();
      assertEquals(503, get(pod.probePort(), "/ready").statusCode());
      assertEquals(200, get(pod.probePort(), "/live").statusCode());
    }
  }

  @Test
  void metricsKeepTheNamesThatDashboardsKnow() throws Exception {
    try (TestMesh mesh = new TestMesh(2)) {
      mesh.register("m");
      mesh.client(mesh.pod(0)).modelInfer(TestMesh.request("m"));
      int holder = mesh.holder("m");
      mesh.client(mesh.pod(holder)).modelInfer(TestMesh.request("m"));
      mesh.client(mesh.pod(1 - holder)).modelInfer(TestMesh.request("m"));
      String text = get(mesh.pod(holder).metricsPort(), "/metrics").body();
      for (String name :
          List.of(
              "modelmesh_api_request_milliseconds_count{method=\"ModelInfer\",code=\"OK\"} ",
              "modelmesh_cache_miss_total 1\n",
              "modelmesh_loadmodel_milliseconds_count 1\n",
              "modelmesh_loadmodel_failure 0\n",
              "modelmesh_unloadmodel_milliseconds_count 0\n",
              "modelmesh_model_evicted_total 0\n",
              "modelmesh_instance_models_total 1\n",
              "modelmesh_instance_capacity_bytes 1000000\n",
              "modelmesh_instance_used_bytes 1000\n",
              "orlop_local_hits_total",
              "orlop_payload_dropped_total{reason=\"queue_full\"} 0\n")) {
        assertTrue(text.contains(name), name + " is missing in\n" + text);
      }
      String other = get(mesh.pod(1 - holder).metricsPort(), "/metrics").body();
      assertTrue(other.contains("orlop_hops_total"), other);
      assertTrue(mesh.pod(1 - holder).stats().hops() >= 1);
    }
  }

  @Test
  void aPortInUseIsNamed() throws Exception {
    try (ServerSocket taken = new ServerSocket(0);
        LocalRegistry registry = new LocalRegistry()) {
      for (int which = 0; which < 4; which++) {
        int[] ports = new int[4];
        ports[which] = taken.getLocalPort();
        PodConfig config =
            PodConfig.builder("p", Memory.ram(1_000))
                .ports(ports[0], ports[1], ports[2], ports[3])
                .build();
        IOException e =
            assertThrows(
                IOException.class,
                () ->
                    ServingPod.start(
                        config,
                        registry,
                        new FakeStore(),
                        List.of(new FakeRuntime()),
                        PayloadLog.disabled(),
                        List.of()));
        String key = List.of("grpcPort", "restPort", "probePort", "metricsPort").get(which);
        String message = String.valueOf(e.getMessage());
        assertTrue(message.contains(key), message);
        assertTrue(message.contains(String.valueOf(taken.getLocalPort())), message);
        assertTrue(registry.view().pods().isEmpty());
      }
    }
  }

  @Test
  void withoutMetricsTheirPortStaysFree() throws Exception {
    try (ServerSocket taken = new ServerSocket(0);
        LocalRegistry registry = new LocalRegistry();
        ServingPod pod =
            ServingPod.start(
                PodConfig.builder("p", Memory.ram(1_000))
                    .ports(0, 0, 0, taken.getLocalPort())
                    .metrics(new MetricsConfig(false, false, 0, false, "about", Map.of()))
                    .build(),
                registry,
                new FakeStore(),
                List.of(new FakeRuntime()),
                PayloadLog.disabled(),
                List.of())) {
      assertEquals(0, pod.metricsPort());
      assertEquals(200, get(pod.probePort(), "/live").statusCode());
    }
  }

  @Test
  void aWrongSettingIsNamedWithWhatIsAllowed() {
    PodConfigBuilder builder = PodConfig.builder("p", Memory.ram(1_000)).compute(0, 1);
    IllegalArgumentException e = assertThrows(IllegalArgumentException.class, builder::build);
    assertEquals("pod computeThreads is 0, allowed is 1 to 1024", e.getMessage());
    assertThrows(
        IllegalArgumentException.class, () -> PodConfig.builder("a/b", Memory.ram(1_000)).build());
    assertThrows(IllegalArgumentException.class, () -> PodConfig.builder("p", Memory.NONE).build());
    for (String name : List.of("x-trace-bin", "X-Trace", "two words", "")) {
      PodConfigBuilder headers =
          PodConfig.builder("p", Memory.ram(1_000)).payloadHeaders(Set.of(name));
      String refusal =
          String.valueOf(assertThrows(IllegalArgumentException.class, headers::build).getMessage());
      assertTrue(refusal.contains("payloadHeaders holds '" + name + "'"), refusal);
    }
    PodConfig config = PodConfig.builder("p", Memory.ram(1_000)).build();
    assertEquals(config, config.toBuilder().build());
  }
}
