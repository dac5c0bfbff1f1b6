package orlop.deploy;

import static org.junit.jupiter.api.Assertions.assertEquals;

import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Set;
import java.util.TreeSet;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import orlop.registry.LocalRegistry;

/** Goal: docs/operations.md lists the metrics there are. Method: a pod is asked for them. */
class OperationsDocTest {
  private static final Pattern DOCUMENTED = Pattern.compile("`((?:modelmesh|orlop)_[a-z_]+)[{`]");

  @TempDir Path dir;

  @Test
  void everyMetricIsDocumentedAndNoneIsInvented() throws Exception {
    Set<String> documented = new TreeSet<>();
    for (String line : Files.readAllLines(Path.of("..", "docs", "operations.md"))) {
      Matcher name = DOCUMENTED.matcher(line);
      while (line.startsWith("| `") && name.find()) {
        documented.add(name.group(1));
      }
    }
    assertEquals(String.join("\n", exposed()), String.join("\n", documented));
  }

  private Set<String> exposed() throws Exception {
    // With all that shows metrics of its own.
    Authority authority = new Authority(dir, "pods");
    Authority.Written own = authority.write("pod", authority.sign("pod"));
    try (Teardown teardown = new Teardown()) {
      Settings settings =
          Settings.read(
              null,
              List.of(
                  "pod.host=127.0.0.1",
                  "pod.grpcPort=0",
                  "pod.restPort=0",
                  "pod.probePort=0",
                  "pod.metricsPort=0",
                  "pod.metrics.perModel=10",
                  "tls.certificate='" + own.certificate() + "'",
                  "tls.privateKey='" + own.key() + "'",
                  "puller.cacheDirectory='" + dir + "'"));
      var registry = teardown.add("registry", new LocalRegistry());
      PodProcess.Announcement pod = Roles.pod(settings, registry, teardown, () -> true);
      try (HttpClient client = HttpClient.newHttpClient()) {
        String text = get(client, "http://" + pod.metrics() + "/metrics");
        Set<String> names = new TreeSet<>();
        text.lines()
            .filter(line -> line.startsWith("# HELP ") || line.startsWith("# TYPE "))
            .forEach(line -> names.add(line.split(" ", 4)[2]));
        return names;
      }
    }
  }

  private static String get(HttpClient client, String uri) throws Exception {
    return client
        .send(HttpRequest.newBuilder(URI.create(uri)).build(), HttpResponse.BodyHandlers.ofString())
        .body();
  }
}
