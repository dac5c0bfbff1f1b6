package orlop.registry;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNotNull;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.nio.file.Path;
import java.util.List;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** The child process and the client, in a few seconds. Needs the Debian package etcd-server. */
class EtcdSmokeTest {
  @TempDir Path dir;

  @Test
  void podsAndModelsSurviveARestartOfEtcd() throws Exception {
    try (EtcdProcess etcd = EtcdProcess.start(dir);
        EtcdRegistry a = EtcdRegistry.connect(RegistryConfig.of(etcd.endpoint(), "smoke"));
        EtcdRegistry b = EtcdRegistry.connect(RegistryConfig.of(etcd.endpoint(), "smoke"))) {
      String endpoint = etcd.endpoint();
      a.createModel(Samples.model("m"));
      PodSession session = a.join(Samples.pod("p"));
      session.publish("m", Samples.LOADED, 1);
      Await.until("b sees it", () -> b.view().copy("p", "m") != null);
      assertTrue(etcd.isAlive());
      etcd.kill();
      assertFalse(etcd.isAlive());
      etcd.restart();
      assertEquals(endpoint, etcd.endpoint());
      a.createModel(Samples.model("n"));
      Await.until("b sees it", () -> b.view().model("n") != null);
      assertNotNull(b.view().copy("p", "m"));
    }
  }

  /** Started as a process of its own; says which etcd it started and ends. */
  static final class Starter {
    private Starter() {}

    @SuppressWarnings("unused")
    public static void main(String[] args) throws IOException {
      EtcdProcess etcd = EtcdProcess.start(Path.of(args[0]));
      System.out.println("pid " + etcd.pid());
      if (args[1].equals("wait")) {
        var unused = System.in.read();
      }
    }
  }

  @Test
  void noEtcdSurvivesTheProcessThatStartedIt() throws Exception {
    for (String how : List.of("end", "wait")) {
      Process starter =
          new ProcessBuilder(
                  ProcessHandle.current().info().command().orElse("java"),
                  "-cp",
                  System.getProperty("java.class.path"),
                  Starter.class.getName(),
                  dir.resolve(how).toString(),
                  how)
              .redirectError(ProcessBuilder.Redirect.DISCARD)
              .start();
      String line = String.valueOf(starter.inputReader().readLine());
      assertTrue(line.startsWith("pid "), line);
      if (how.equals("wait")) {
        starter.destroy();
      }
      assertTrue(starter.waitFor(60, TimeUnit.SECONDS));
      long pid = Long.parseLong(line.substring(4));
      Await.until(
          "etcd " + pid + " is gone",
          () -> ProcessHandle.of(pid).map(p -> !p.isAlive()).orElse(true));
    }
  }
}
