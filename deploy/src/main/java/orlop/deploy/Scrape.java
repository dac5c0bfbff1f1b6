package orlop.deploy;

import java.io.IOException;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.time.Duration;
import java.util.HashMap;
import java.util.Map;

/** One reading of a Prometheus endpoint: for each name the sum over its labels. */
final class Scrape {
  private Scrape() {}

  static Map<String, Double> of(String url) throws IOException {
    try (HttpClient client = HttpClient.newHttpClient()) {
      HttpResponse<String> response =
          client.send(
              HttpRequest.newBuilder(URI.create(url)).timeout(Duration.ofSeconds(10)).build(),
              HttpResponse.BodyHandlers.ofString());
      Map<String, Double> sums = new HashMap<>();
      response
          .body()
          .lines()
          .filter(line -> !line.startsWith("#") && !line.isBlank())
          .forEach(
              line -> {
                int value = line.lastIndexOf('}') + 1;
                int space = line.indexOf(' ', value);
                int name = line.indexOf('{');
                sums.merge(
                    line.substring(0, name < 0 ? space : name),
                    Double.parseDouble(line.substring(space + 1).split(" ", 2)[0]),
                    Double::sum);
              });
      return sums;
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
      throw new IOException("interrupted while reading " + url, e);
    }
  }
}
