package orlop.registry;

import java.io.IOException;
import java.net.URI;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.TimeUnit;
import java.util.stream.Stream;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.io.TempDir;
import orlop.api.TcpProxy;

/** A real etcd for each test, which the test may kill, freeze and cut off. */
abstract class WithEtcd {
  @TempDir Path dir;
  EtcdProcess etcd;
  final List<AutoCloseable> opened = new ArrayList<>();

  @BeforeEach
  void start() throws Exception {
    etcd = EtcdProcess.start(dir);
  }

  @AfterEach
  void stop() throws Exception {
    if (etcd != null) {
      signal("CONT");
      for (AutoCloseable each : opened.reversed()) {
        each.close();
      }
      etcd.close();
    }
  }

  EtcdRegistry connect(String endpoint, long ttlMs, long timeoutMs) throws Exception {
    EtcdRegistry registry =
        EtcdRegistry.connect(RegistryConfig.of(endpoint, "m").withTimes(ttlMs, timeoutMs));
    opened.add(registry);
    return registry;
  }

  EtcdRegistry connect(long ttlMs) throws Exception {
    return connect(etcd.endpoint(), ttlMs, 5_000);
  }

  TcpProxy proxy() throws Exception {
    TcpProxy proxy = new TcpProxy(URI.create(etcd.endpoint()).getPort());
    opened.add(proxy);
    return proxy;
  }

  void signal(String name) throws Exception {
    if (etcd.isAlive()) {
      new ProcessBuilder("kill", "-" + name, String.valueOf(etcd.pid())).start().waitFor();
      if (name.equals("STOP")) {
        Await.until("etcd stands still", () -> stopped(etcd.pid()));
      }
    }
  }

  /** Each of its threads stops by itself, some a moment after the signal. */
  private static boolean stopped(long pid) {
    try (Stream<Path> threads = Files.list(Path.of("/proc/" + pid + "/task"))) {
      for (Path thread : threads.toList()) {
        String stat = Files.readString(thread.resolve("stat"));
        if (stat.charAt(stat.lastIndexOf(')') + 2) != 'T') {
          return false;
        }
      }
      return true;
    } catch (IOException e) {
      return !Files.exists(Path.of("/proc"));
    }
  }

  /** Lets time pass; the passing itself is what is tested. */
  static void pass(long ms) throws Exception {
    long end = System.nanoTime() + TimeUnit.MILLISECONDS.toNanos(ms);
    Await.until(ms + " ms pass", () -> System.nanoTime() - end > 0);
  }

  static String message(Throwable error) {
    return String.valueOf(error.getMessage());
  }
}
