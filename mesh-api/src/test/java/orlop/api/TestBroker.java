package orlop.api;

import java.io.IOException;
import java.io.OutputStream;
import java.io.PrintStream;
import java.io.UncheckedIOException;
import java.net.InetAddress;
import java.net.ServerSocket;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Comparator;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;
import kafka.server.KafkaConfig;
import kafka.server.KafkaRaftServer;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.AdminClientConfig;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.common.Uuid;
import org.apache.kafka.common.utils.Time;
import org.apache.kafka.metadata.storage.Formatter;
import org.apache.kafka.server.common.MetadataVersion;
import org.jspecify.annotations.Nullable;

/**
 * A real Kafka broker for tests: one KRaft node, broker and controller together, inside this JVM,
 * on free loopback ports, with its log in a temporary directory that {@link #close} deletes.
 *
 * <p>Transactions, share groups and KIP-848 consumer groups work; every internal topic has one
 * replica. Starts in two to four seconds. {@link #stop} and {@link #restart} keep the port and the
 * log, so that tests can take the broker away and bring it back. Not thread-safe: owned by the
 * thread of the test.
 */
public final class TestBroker implements AutoCloseable {
  private static final long CALL_TIMEOUT_MS = 60_000;

  private final int port;
  private final int controllerPort;
  private final Path directory;
  private @Nullable KafkaRaftServer server;

  private TestBroker(int port, int controllerPort, Path directory) {
    this.port = port;
    this.controllerPort = controllerPort;
    this.directory = directory;
  }

  /** Starts a broker on a free port. */
  public static TestBroker start() {
    return startOn(freePort());
  }

  /**
   * Starts a broker on a given port: for a test that first lets a client find nobody there.
   *
   * @param port a port from {@link #freePort}
   */
  public static TestBroker startOn(int port) {
    try {
      TestBroker broker =
          new TestBroker(port, freePort(), Files.createTempDirectory("orlop-broker"));
      broker.format();
      broker.restart();
      return broker;
    } catch (Exception e) {
      throw new IllegalStateException("Kafka broker did not start on port " + port, e);
    }
  }

  /** A loopback port that nobody listened on a moment ago. */
  public static int freePort() {
    try (ServerSocket socket = new ServerSocket(0, 1, InetAddress.getLoopbackAddress())) {
      return socket.getLocalPort();
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  /** {@code host:port} for clients. */
  public String bootstrap() {
    return "127.0.0.1:" + port;
  }

  /** Creates a topic with one replica per partition and returns when its leaders are known. */
  public void createTopic(String name, int partitions) {
    createTopic(name, partitions, Map.of());
  }

  /** As {@link #createTopic(String, int)}, with topic configuration. */
  public void createTopic(String name, int partitions, Map<String, String> configuration) {
    try (Admin admin =
        Admin.create(Map.of(AdminClientConfig.BOOTSTRAP_SERVERS_CONFIG, bootstrap()))) {
      NewTopic topic = new NewTopic(name, partitions, (short) 1).configs(configuration);
      admin.createTopics(List.of(topic)).all().get(CALL_TIMEOUT_MS, TimeUnit.MILLISECONDS);
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
      throw new IllegalStateException("interrupted while creating topic " + name, e);
    } catch (ExecutionException | TimeoutException e) {
      throw new IllegalStateException("topic " + name + " was not created", e);
    }
  }

  /** Stops the broker and keeps its log. Does nothing when it is stopped. */
  public void stop() {
    KafkaRaftServer running = server;
    if (running != null) {
      server = null;
      running.shutdown();
      running.awaitShutdown();
    }
  }

  /** Starts the broker again on the same port with the same log. Does nothing when it runs. */
  public void restart() {
    if (server == null) {
      KafkaRaftServer starting =
          new KafkaRaftServer(new KafkaConfig(properties(), false), Time.SYSTEM);
      starting.startup();
      server = starting;
    }
  }

  /** Stops the broker and deletes its log. */
  @Override
  public void close() {
    stop();
    try (var files = Files.walk(directory)) {
      for (Path file : files.sorted(Comparator.reverseOrder()).toList()) {
        Files.deleteIfExists(file);
      }
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  private void format() throws Exception {
    new Formatter()
        .setClusterId(Uuid.randomUuid().toString())
        .setNodeId(1)
        .addDirectory(directory.toString())
        .setReleaseVersion(MetadataVersion.latestProduction())
        .setControllerListenerName("CONTROLLER")
        .setMetadataLogDirectory(directory.toString())
        .setPrintStream(
            new PrintStream(OutputStream.nullOutputStream(), false, StandardCharsets.UTF_8))
        .run();
  }

  private Properties properties() {
    Properties properties = new Properties();
    properties.putAll(
        Map.ofEntries(
            Map.entry("process.roles", "broker,controller"),
            Map.entry("node.id", "1"),
            Map.entry("controller.quorum.voters", "1@127.0.0.1:" + controllerPort),
            Map.entry("controller.listener.names", "CONTROLLER"),
            Map.entry(
                "listeners",
                "PLAINTEXT://127.0.0.1:" + port + ",CONTROLLER://127.0.0.1:" + controllerPort),
            Map.entry("advertised.listeners", "PLAINTEXT://127.0.0.1:" + port),
            Map.entry("listener.security.protocol.map", "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT"),
            Map.entry("log.dirs", directory.toString()),
            Map.entry("auto.create.topics.enable", "false"),
            Map.entry("num.partitions", "1"),
            Map.entry("offsets.topic.num.partitions", "1"),
            Map.entry("offsets.topic.replication.factor", "1"),
            Map.entry("transaction.state.log.num.partitions", "1"),
            Map.entry("transaction.state.log.replication.factor", "1"),
            Map.entry("transaction.state.log.min.isr", "1"),
            Map.entry("share.coordinator.state.topic.num.partitions", "1"),
            Map.entry("share.coordinator.state.topic.replication.factor", "1"),
            Map.entry("share.coordinator.state.topic.min.isr", "1"),
            Map.entry("group.initial.rebalance.delay.ms", "0"),
            // The floor of the setting: a member that dies without goodbye is missed soon.
            Map.entry("group.min.session.timeout.ms", "1000"),
            Map.entry("group.consumer.min.session.timeout.ms", "1000"),
            Map.entry("group.consumer.session.timeout.ms", "6000"),
            Map.entry("group.consumer.min.heartbeat.interval.ms", "500"),
            Map.entry("group.consumer.heartbeat.interval.ms", "1000"),
            // The default of 128 MiB does not fit the small heap of a test JVM.
            Map.entry("log.cleaner.dedupe.buffer.size", "2097152")));
    return properties;
  }
}
