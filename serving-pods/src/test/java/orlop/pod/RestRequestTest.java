package orlop.pod;

import static org.junit.jupiter.api.Assertions.assertEquals;

import io.netty.handler.codec.http.DefaultHttpHeaders;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.Test;
import orlop.placement.Memory;

/** What a request keeps of the calls that are made for it. */
class RestRequestTest {
  @Test
  void keepsNoCallThatHasEnded() throws Exception {
    PodConfig config =
        PodConfig.builder("p", Memory.ram(1)).host("127.0.0.1").ports(0, 0, 0, 0).build();
    Metrics metrics = new Metrics(new MetricsConfig(true, false, 0, true, "x", Map.of()));
    RestServer.Handler nobody =
        request -> {
          throw new AssertionError(request.rawPath);
        };
    try (RestServer server = new RestServer(config, nobody, null, new Handshakes(metrics))) {
      RestRequest request =
          new RestRequest("GET", "/", new DefaultHttpHeaders(), new byte[0], server, 0);
      List<String> told = new ArrayList<>();
      request.whenGone(() -> told.add("first"));
      request.whenGone(() -> told.add("second"));
      request.leave();
      assertEquals(List.of("second"), told);
      request.whenGone(() -> told.add("third"));
      request.leave();
      assertEquals(List.of("second", "third"), told);
    }
  }
}
