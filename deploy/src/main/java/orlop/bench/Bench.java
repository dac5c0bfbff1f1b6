package orlop.bench;

import java.io.IOException;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.Arrays;
import java.util.Comparator;
import java.util.concurrent.atomic.AtomicLongArray;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.Stream;
import orlop.registry.EtcdProcess;

/** What benchmarks with processes and etcd need around them. */
final class Bench {
  private Bench() {}

  /** Of the first {@code count} values. */
  static long percentile(AtomicLongArray values, int count, double percent) {
    long[] sorted = new long[count];
    for (int i = 0; i < count; i++) {
      sorted[i] = values.get(i);
    }
    Arrays.sort(sorted);
    return count == 0 ? 0 : sorted[(int) Math.min(count - 1, count * percent / 100)];
  }

  static long cpuMicros(EtcdProcess etcd) {
    return ProcessHandle.of(etcd.pid())
            .flatMap(process -> process.info().totalCpuDuration())
            .orElse(Duration.ZERO)
            .toNanos()
        / 1_000;
  }

  /** The sum of a Prometheus counter over its labels, read from {@code host:port}. */
  static long counter(String metrics, String name) throws IOException, InterruptedException {
    HttpResponse<String> page;
    try (HttpClient http = HttpClient.newHttpClient()) {
      page =
          http.send(
              HttpRequest.newBuilder(URI.create("http://" + metrics + "/metrics"))
                  .timeout(Duration.ofSeconds(10))
                  .build(),
              HttpResponse.BodyHandlers.ofString());
    }
    Pattern line = Pattern.compile("(?m)^" + name + "(?:_total)?(?:\\{[^}]*})? ([0-9.Ee+]+)$");
    Matcher found = line.matcher(page.body());
    double sum = Double.NaN;
    while (found.find()) {
      sum = (Double.isNaN(sum) ? 0 : sum) + Double.parseDouble(found.group(1));
    }
    if (Double.isNaN(sum)) {
      throw new IOException("no counter " + name + " at " + metrics);
    }
    return Math.round(sum);
  }

  static void delete(Path directory) throws IOException {
    try (Stream<Path> files = Files.walk(directory)) {
      for (Path file : files.sorted(Comparator.reverseOrder()).toList()) {
        Files.deleteIfExists(file);
      }
    }
  }
}
