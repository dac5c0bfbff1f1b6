package orlop.drift;

import java.lang.System.Logger.Level;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.AdminClientConfig;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.common.KafkaException;
import org.apache.kafka.common.errors.TopicExistsException;

/** The topics that a drift server needs, made sure of before it starts. */
final class Topics {
  private static final System.Logger LOG = System.getLogger(Topics.class.getName());
  private static final int CALL_TIMEOUT_MS = 5_000;
  private static final long RETRY_PAUSE_MS = 500;

  private Topics() {}

  /**
   * Returns when a broker answers and both topics exist.
   *
   * @throws IllegalStateException when that takes longer than {@code startTimeoutMs}
   */
  static void await(DriftConfig config) {
    long deadlineNs = System.nanoTime() + TimeUnit.MILLISECONDS.toNanos(config.startTimeoutMs());
    boolean complained = false;
    while (true) {
      try {
        create(config);
        return;
      } catch (ExecutionException | TimeoutException | KafkaException e) {
        if (System.nanoTime() > deadlineNs) {
          throw new IllegalStateException(
              "no Kafka broker answers on "
                  + config.bootstrapServers()
                  + " within "
                  + config.startTimeoutMs()
                  + " ms; drift detection cannot start. Check bootstrapServers and the broker.",
              e);
        }
        if (!complained) {
          complained = true;
          LOG.log(
              Level.WARNING,
              "drift detection waits up to {0} ms for a Kafka broker on {1}",
              Long.toString(config.startTimeoutMs()),
              config.bootstrapServers());
        }
        pause();
      } catch (InterruptedException e) {
        Thread.currentThread().interrupt();
        throw new IllegalStateException("interrupted while waiting for a Kafka broker", e);
      }
    }
  }

  private static void create(DriftConfig config)
      throws InterruptedException, ExecutionException, TimeoutException {
    Map<String, Object> properties = new HashMap<>();
    properties.put(AdminClientConfig.BOOTSTRAP_SERVERS_CONFIG, config.bootstrapServers());
    properties.put(AdminClientConfig.REQUEST_TIMEOUT_MS_CONFIG, CALL_TIMEOUT_MS);
    properties.put(AdminClientConfig.DEFAULT_API_TIMEOUT_MS_CONFIG, CALL_TIMEOUT_MS);
    try (Admin admin = Admin.create(properties)) {
      Set<String> existing = admin.listTopics().names().get(CALL_TIMEOUT_MS, TimeUnit.MILLISECONDS);
      List<NewTopic> missing = new ArrayList<>();
      for (String topic : List.of(config.payloadTopic(), config.verdictTopic())) {
        if (!existing.contains(topic)) {
          missing.add(new NewTopic(topic, Optional.of(config.topicPartitions()), Optional.empty()));
        }
      }
      admin.createTopics(missing).all().get(CALL_TIMEOUT_MS, TimeUnit.MILLISECONDS);
    } catch (ExecutionException e) {
      // Another server was faster.
      if (!(e.getCause() instanceof TopicExistsException)) {
        throw e;
      }
    }
  }

  private static void pause() {
    try {
      Thread.sleep(RETRY_PAUSE_MS);
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
    }
  }
}
