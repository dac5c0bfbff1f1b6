package orlop.deploy;

import java.io.IOException;
import java.io.OutputStream;
import java.io.PrintStream;
import java.lang.System.Logger;
import java.lang.System.Logger.Level;
import java.net.InetAddress;
import java.net.ServerSocket;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.HashMap;
import java.util.Map;
import kafka.server.KafkaConfig;
import kafka.server.KafkaRaftServer;
import org.apache.kafka.common.Uuid;
import org.apache.kafka.common.utils.Time;
import org.apache.kafka.metadata.storage.Formatter;
import org.apache.kafka.server.common.MetadataVersion;

/**
 * A whole Kafka cluster of one node (KRaft, broker and controller) in this Java machine, on free
 * ports of the loop-back interface. For demo, development and tests.
 *
 * <p>Topics, offsets and transactions live under the data directory and survive a restart on it.
 * Internal topics are small (one replica, four partitions). Closing takes at most {@value
 * #STOP_TIMEOUT_MS} ms. Thread-safe.
 */
final class EmbeddedKafka implements AutoCloseable {
  private static final Logger LOG = System.getLogger(EmbeddedKafka.class.getName());
  private static final int STOP_TIMEOUT_MS = 15_000;
  private static final int START_ATTEMPTS = 5;

  private final KafkaRaftServer server;
  private final String bootstrap;

  private EmbeddedKafka(KafkaRaftServer server, String bootstrap) {
    this.server = server;
    this.bootstrap = bootstrap;
  }

  /** Starts a broker with the settings above; it takes clients when this returns (2–4 s). */
  static EmbeddedKafka start(Path dataDir) throws IOException {
    return start(dataDir, Map.of());
  }

  /**
   * @param dataDir made and formatted when absent
   * @param overrides broker settings that win over the ones chosen here
   * @throws IOException when the broker does not start; another process that takes one of the free
   *     ports in between is met by {@value #START_ATTEMPTS} attempts
   */
  static EmbeddedKafka start(Path dataDir, Map<String, String> overrides) throws IOException {
    format(dataDir);
    RuntimeException last = null;
    for (int attempt = 0; attempt < START_ATTEMPTS; attempt++) {
      int brokerPort;
      int controllerPort;
      // Both sockets are open at once, so the ports differ.
      try (var a = new ServerSocket(0, 1, InetAddress.getLoopbackAddress());
          var b = new ServerSocket(0, 1, InetAddress.getLoopbackAddress())) {
        brokerPort = a.getLocalPort();
        controllerPort = b.getLocalPort();
      }
      var properties = settings(dataDir, brokerPort, controllerPort);
      properties.putAll(overrides);
      KafkaRaftServer server = null;
      try {
        server = new KafkaRaftServer(new KafkaConfig(properties, false), Time.SYSTEM);
        server.startup();
        return new EmbeddedKafka(server, "127.0.0.1:" + brokerPort);
      } catch (RuntimeException e) {
        last = e;
        if (server != null) {
          stop(server);
        }
      }
    }
    throw new IOException("Kafka broker over " + dataDir + " did not start", last);
  }

  /** {@code 127.0.0.1:<port>}, for {@code bootstrap.servers}. */
  String bootstrap() {
    return bootstrap;
  }

  @Override
  public void close() {
    stop(server);
  }

  private static void format(Path dataDir) throws IOException {
    Files.createDirectories(dataDir);
    if (Files.exists(dataDir.resolve("meta.properties"))) {
      return;
    }
    var silence = new PrintStream(OutputStream.nullOutputStream(), false, StandardCharsets.UTF_8);
    try {
      new Formatter()
          .setClusterId(Uuid.randomUuid().toString())
          .setNodeId(1)
          .addDirectory(dataDir.toString())
          .setReleaseVersion(MetadataVersion.latestProduction())
          .setControllerListenerName("CONTROLLER")
          .setMetadataLogDirectory(dataDir.toString())
          .setPrintStream(silence)
          .run();
    } catch (IOException | RuntimeException e) {
      throw e;
    } catch (Exception e) {
      throw new IOException("Kafka data directory " + dataDir + " could not be formatted", e);
    }
  }

  private static Map<String, String> settings(Path dataDir, int brokerPort, int controllerPort) {
    String broker = "PLAINTEXT://127.0.0.1:" + brokerPort;
    var all = new HashMap<String, String>();
    all.put("process.roles", "broker,controller");
    all.put("node.id", "1");
    all.put("controller.quorum.voters", "1@127.0.0.1:" + controllerPort);
    all.put("controller.listener.names", "CONTROLLER");
    all.put("listeners", broker + ",CONTROLLER://127.0.0.1:" + controllerPort);
    all.put("advertised.listeners", broker);
    all.put("log.dirs", dataDir.toString());
    all.put("offsets.topic.replication.factor", "1");
    all.put("offsets.topic.num.partitions", "4");
    all.put("transaction.state.log.replication.factor", "1");
    all.put("transaction.state.log.min.isr", "1");
    all.put("transaction.state.log.num.partitions", "4");
    all.put("share.coordinator.state.topic.replication.factor", "1");
    all.put("share.coordinator.state.topic.min.isr", "1");
    all.put("share.coordinator.state.topic.num.partitions", "4");
    all.put("group.initial.rebalance.delay.ms", "0");
    all.put("log.cleaner.dedupe.buffer.size", "2097152"); // the default takes 128 MB of heap
    return all;
  }

  /** Stops in a thread of its own, because Kafka's own waits have no bound. */
  private static void stop(KafkaRaftServer server) {
    var stopping =
        Thread.ofPlatform()
            .daemon()
            .name("orlop-kafka-stop")
            .start(
                () -> {
                  server.shutdown();
                  server.awaitShutdown();
                });
    try {
      if (!stopping.join(Duration.ofMillis(STOP_TIMEOUT_MS))) {
        LOG.log(Level.WARNING, "Kafka broker did not stop within {0} ms", STOP_TIMEOUT_MS);
      }
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
    }
  }
}
