#pragma once

#include <memory>

#include "client/backend.h"
#include "millrace/client.h"

// What stands behind the public classes.
namespace millrace {

struct Producer::Impl {
  std::shared_ptr<client::ProducerBackend> producer;
  client::EmbeddedProducer* embedded = nullptr;  // the same object, where it is that
};

struct Consumer::Impl {
  std::shared_ptr<client::ConsumerBackend> consumer;
};

struct Admin::Impl {
  std::shared_ptr<client::AdminBackend> admin;
};

struct Client::Impl {
  explicit Impl(std::shared_ptr<client::Backend> opened)
      : backend(std::move(opened)),
        admin(std::make_shared<Admin::Impl>(Admin::Impl{.admin = backend->MakeAdmin()})) {}
  const std::shared_ptr<client::Backend> backend;
  const std::shared_ptr<Admin::Impl> admin;
};

struct ClientAccess {
  // None of a client that was moved from.
  static std::shared_ptr<client::Backend> BackendOf(const Client& client) {
    return client.impl_ == nullptr ? nullptr : client.impl_->backend;
  }
};

}  // namespace millrace
